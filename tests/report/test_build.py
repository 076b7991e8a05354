"""What goes into the report: bad folders, names, partial runs, pictures that cannot be had."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from amodal_bench.cli.report import report
from amodal_bench.errors import Refused
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.report.build import build, embedded
from amodal_bench.report.gallery import GallerySettings
from amodal_bench.report.numbers import printed, probability
from amodal_bench.report.pairs import chosen_pairs, signed
from amodal_bench.results.select import labelled, results_runs
from amodal_bench.store import rows
from amodal_bench.store.folder import RunFolder, find_runs

ROOT = Path(__file__).parent.parent.parent
SQUARES = ROOT / "tests" / "plugins" / "squares.py"
MEAN = find_protocol("instance-mean/1")
Cli = Callable[..., subprocess.CompletedProcess[str]]


def made(results: Path, **settings: Any) -> dict[str, Any]:
    """The data of the page of `results`, few draws."""
    page = build(
        results,
        results / "report",
        [MEAN],
        GallerySettings(**{"plugins": (SQUARES,), "count": 6, **settings}),
        draws=20,
    ).page
    text = page.read_text().split('id="content">')[1].split("</script>")[0]
    content: dict[str, Any] = json.loads(text)
    return content


def run_of(results: Path, preset: str) -> RunFolder:
    return next(run for run in find_runs(results) if run.record()["preset"] == preset)


def change(folder: RunFolder, **changes: object) -> None:
    folder.write_record({**folder.record(), **changes})


def test_a_folder_without_runs_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no finished run to report; `amodal-bench bench` makes some"):
        build(tmp_path, tmp_path / "report", [MEAN], GallerySettings())
    assert list(tmp_path.iterdir()) == []


def test_runs_that_cannot_be_read_are_named_and_left_out(golden: Path, cli: Cli) -> None:
    change(run_of(golden, "visible"), schema_version=99)
    (run_of(golden, "dilate").path / "instances.parquet").unlink()
    done = cli("report", "--results", golden, "--protocol", "pooled/1", "--draws", 10, "--plugin", SQUARES)
    assert done.returncode == 0, done.stderr
    assert "has schema version 99; this amodal_bench reads up to 1: upgrade it" in done.stdout
    assert "is complete by its run.json, but has no instances.parquet: the folder was copied in part" in done.stdout
    assert "1 runs: " in done.stdout
    page = (golden / "report" / "index.html").read_text()
    assert "2 runs left out." in page
    assert "schema version 99" in page


def test_when_no_run_can_be_read_all_reasons_are_given(golden: Path) -> None:
    for run in list(find_runs(golden)):
        change(run, schema_version=99)
    with pytest.raises(Refused, match=r"(?s)no finished run.*schema version 99.*schema version 99"):
        build(golden, golden / "report", [MEAN], GallerySettings())


def test_a_run_in_which_everything_failed_has_undefined_numbers(golden: Path) -> None:
    folder = run_of(golden, "visible")
    path = folder.path / "instances.parquet"
    table = rows.read_table(path, rows.INSTANCES)
    column = table.schema.get_field_index("status")
    failed = pa.array(["error"] * len(table), type=pa.string())
    rows.write_table(path, table.set_column(column, table.schema.field(column), failed))
    change(folder, status="errors")
    content = made(golden)
    run = next(run for run in content["runs"] if run["label"] == "visible")
    assert run["state"] == "24 errors"
    assert run["cells"]["instance-mean/1"]["all"]["mIoU_full"] == ["", "", "", 0, 0, 0]
    assert run["split"]["instance-mean/1"]["all"] == [""] * 4
    faults = [pair["fault"] for pair in content["pairs"] if "visible" in (pair["a"], pair["b"])]
    assert all("the runs share no instance" in fault for fault in faults)
    assert content["galleries"][0]["runs"] == ["convex_hull", "dilate"]


def test_runs_on_other_files_of_one_name_are_not_compared(golden: Path) -> None:
    run = run_of(golden, "dilate")
    change(run, spec={**run.record()["spec"], "fingerprint": "abcdef" * 10})
    content = made(golden)
    assert content["data"] == ["squares/test (files c015154f)", "squares/test (files abcdefab)"]
    assert [(pair["a"], pair["b"]) for pair in content["pairs"]] == [("convex_hull", "visible")]
    assert "(fingerprint c015154f, the run has abcdefab): name the right ones" in content["galleries"][1]["fault"]


def test_runs_of_one_method_are_told_apart_by_seed_then_key(golden: Path) -> None:
    source = run_of(golden, "dilate")
    for key, seed in (("1" * 12, 1), ("2" * 12, 1)):
        twin = RunFolder(source.path.parent / key)
        twin.path.mkdir()
        for file in source.path.iterdir():
            (twin.path / file.name).write_bytes(file.read_bytes())
        change(twin, key=key, spec={**source.record()["spec"], "seed": seed})
    runs = labelled(results_runs(golden).runs)
    labels = {run.label for run in runs}
    assert labels == {"convex_hull", "visible", "dilate seed 0", "dilate seed 1 111111", "dilate seed 1 222222"}


def test_without_the_files_a_sentence_stands_for_the_pictures(golden: Path) -> None:
    change_request(golden, plugins=[])
    gallery = made(golden, plugins=())["galleries"][0]
    assert gallery["fault"].startswith("No pictures: the run used the plugin squares (sha256 ")
    assert "...): give it with --plugin FILE." in gallery["fault"]
    assert [item["files"] for item in gallery["items"]] == [{}] * 6


def change_request(results: Path, **changes: object) -> None:
    for run in find_runs(results):
        change(run, request={**run.record()["request"], **changes})


def test_pictures_are_replaced_and_other_files_stay(golden: Path) -> None:
    images = golden / "report" / "images"
    images.mkdir(parents=True)
    (images / "0-9999-1.jpg").write_bytes(b"old")
    (images / "mine.jpg").write_bytes(b"mine")
    items = made(golden, count=5)["galleries"][0]["items"]
    assert len(items) == 5
    files = {Path(file).name for item in items for file in item["files"].values()}
    assert {path.name for path in images.iterdir()} == files | {"mine.jpg"}


def test_the_same_runs_give_the_same_bytes(golden: Path) -> None:
    def everything() -> dict[Path, bytes]:
        made(golden)
        return {path: path.read_bytes() for path in sorted((golden / "report").rglob("*")) if path.is_file()}

    assert everything() == everything()


def test_many_runs_are_each_compared_with_the_best(golden: Path) -> None:
    runs = labelled(results_runs(golden).runs)
    few = chosen_pairs(runs, MEAN)
    assert [(a.label, b.label) for a, b in few] == [
        ("convex_hull", "visible"), ("convex_hull", "dilate"), ("visible", "dilate"),
    ]  # fmt: skip
    many = chosen_pairs([*runs, *runs, *runs], MEAN)
    assert len(many) == 8
    assert {a.label for a, _ in many} == {"convex_hull"}


def test_nothing_in_the_data_can_end_its_element() -> None:
    text = embedded({"a": "</script><!-- & \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}


@pytest.mark.parametrize(("value", "text"), [(1.005, "1.00"), (float("nan"), ""), (-0.004, "-0.00")])
def test_printed(value: float, text: str) -> None:
    assert printed(value) == text


@pytest.mark.parametrize(("value", "text"), [(2.5, "+2.50"), (-1.0, "-1.00"), (0.0, "0.00"), (float("nan"), "")])
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "< 0.001"), (0.0125, "0.013"), (1.0, "1.000"), (float("nan"), "")]
)
def test_chance(value: float, text: str) -> None:
    assert probability(value) == text


def test_bad_options_are_refused() -> None:
    with pytest.raises(Refused, match="--gallery and --draws take whole numbers from 0, got -1 and 2000"):
        report(gallery=-1)
    with pytest.raises(Refused, match=r"unknown protocol 'poled/1'. Did you mean 'pooled/1'\?"):
        report(protocol="poled/1")
