"""The export command and the loop behind it; what the layouts look like is tests/datasets/test_writers.py."""

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amodal_bench.errors import BadRecord, Refused, UnknownName
from amodal_bench.formats.writers.base import clip_and_frame
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import TABLE, UNREADABLE, export, find_format, format_names, prepare
from amodal_bench.types import AmodalSample

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parent.parent
REGISTRY = Registry([ROOT / "tests" / "plugins" / "squares.py"])
FORMATS = format_names(REGISTRY)


@pytest.fixture
def squares() -> AnyDataset:
    return open_dataset("squares", REGISTRY, None, {}, DataFlags())[0]


class Counting:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def announce(self, total: int, done: int) -> None:
        self.told.append((total, done))

    def advance(self, finished: int, failed: int) -> None:
        self.told.append((finished, failed))


def rows(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def left(path: Path) -> list[str]:
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*"))


def test_a_format_is_named_after_the_dataset_that_reads_it() -> None:
    assert FORMATS["coco_a"] == "amodal_bench.datasets.coco_a.writer"
    assert FORMATS["kins-2020"] == "amodal_bench.datasets.kins.writer_2020"
    assert (find_format("kins-2020", REGISTRY).dataset, find_format("coco_a", REGISTRY).dataset) == ("kins", "coco_a")
    assert {find_format(name, REGISTRY).dataset for name in FORMATS} <= set(REGISTRY.names("datasets"))


def test_an_unknown_format_is_answered_with_a_suggestion() -> None:
    with pytest.raises(
        UnknownName, match=r"unknown format 'kins2020'\. Did you mean 'kins-2020'\? Known: bop, bsds_a, coco, coco_a"
    ):
        find_format("kins2020", REGISTRY)


def test_an_unknown_target_split_is_refused(squares: AnyDataset, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown split of KINS .*'val'.*Known: test, train"):
        prepare(squares, find_format("kins-v1", REGISTRY), tmp_path / "out", REGISTRY, "val")


def test_the_split_is_the_one_of_the_same_name_else_the_targets_default(squares: AnyDataset, tmp_path: Path) -> None:
    made = {name: prepare(squares, find_format(name, REGISTRY), tmp_path / "out", REGISTRY) for name in FORMATS}
    assert (made["coco_a"].split, made["kins-v1"].split) == ("test", "test")
    assert (made["d2sa"].split, made["mp3d"].split) == ("val", "eval")
    assert left(tmp_path) == []


def test_a_folder_with_files_is_refused(squares: AnyDataset, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    layout = find_format("folder", REGISTRY)
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(Refused, match=rf"--out {re.escape(str(out))}: not an empty folder"):
            prepare(squares, layout, out, REGISTRY)
    (tmp_path / "empty").mkdir()
    export(prepare(squares, layout, tmp_path / "empty", REGISTRY, limit=1))


def test_nothing_to_export_is_refused_with_the_funnel(squares: AnyDataset, tmp_path: Path) -> None:
    class Empty(type(squares)):  # type: ignore[misc]
        def ids(self) -> list[str]:
            return []

    empty = Empty(squares.location, squares.split, squares.options)
    with pytest.raises(Refused, match=r"nothing to export: Squares behind bars test is empty: \{'read': 24"):
        prepare(empty, find_format("folder", REGISTRY), tmp_path / "out", REGISTRY)


def test_a_limit_is_a_prefix(squares: AnyDataset, tmp_path: Path) -> None:
    layout = find_format("coco_a", REGISTRY)
    with pytest.raises(Refused, match="--limit takes a whole number from 1, got 0"):
        prepare(squares, layout, tmp_path / "out", REGISTRY, limit=0)
    funnel = export(prepare(squares, layout, tmp_path / "out", REGISTRY, limit=4))
    assert [row["source"] for row in rows(tmp_path / "out")] == list(squares.ids()[:4])
    assert funnel.as_dict() == {"read": 4, "kept": 4, "dropped": {}, "noted": {}}


def test_what_cannot_be_read_is_counted_and_the_rest_written(squares: AnyDataset, tmp_path: Path) -> None:
    class Damaged(type(squares)):  # type: ignore[misc]
        def __getitem__(self, index: int) -> AmodalSample:
            if index in (1, 3, 4, 5):
                raise BadRecord(f"squares.json: instance {index} is cut off")
            sample: AmodalSample = super().__getitem__(index)
            return sample

    damaged = Damaged(squares.location, squares.split, squares.options)
    reporter = Counting()
    funnel = export(prepare(damaged, find_format("coco_a", REGISTRY), tmp_path / "out", REGISTRY, limit=9), reporter)
    assert (funnel.read, funnel.kept, dict(funnel.dropped)) == (9, 5, {UNREADABLE: 4})
    assert [row["source"][-4:] for row in rows(tmp_path / "out")] == ["00/0", "00/2", "02/0", "02/1", "02/2"]
    assert reporter.told == [(9, 0), (3, 1), (3, 3), (3, 0)]


def test_an_export_that_stops_leaves_no_table_and_no_annotations(squares: AnyDataset, tmp_path: Path) -> None:
    class Stopping(type(squares)):  # type: ignore[misc]
        def __getitem__(self, index: int) -> AmodalSample:
            if index == 4:
                raise KeyboardInterrupt
            sample: AmodalSample = super().__getitem__(index)
            return sample

    stopping = Stopping(squares.location, squares.split, squares.options)
    with pytest.raises(KeyboardInterrupt):
        export(prepare(stopping, find_format("d2sa", REGISTRY), tmp_path / "out", REGISTRY))
    names = [name for name in left(tmp_path / "out") if "." in name]
    assert names == [
        "d2s_amodal_annotations_v1/.D2S_amodal_validation.json.part", "d2s_amodal_images_v1/images/D2S_000000.png",
    ]  # fmt: skip


def test_exporting_twice_gives_the_same_bytes(squares: AnyDataset, tmp_path: Path) -> None:
    for name in FORMATS:
        first, second = tmp_path / f"{name}-1", tmp_path / f"{name}-2"
        for out in (first, second):
            export(prepare(squares, find_format(name, REGISTRY), out, REGISTRY, limit=6))
        assert left(first) == left(second)
        files = [file for file in left(first) if (first / file).is_file()]
        assert [f for f in files if (first / f).read_bytes() != (second / f).read_bytes()] == []


def test_only_frames_of_videos_are_split_into_clip_and_frame() -> None:
    assert clip_and_frame("tank:00012", "tank") == ("tank", 12)
    assert clip_and_frame("scene: 1:7", "scene: 1") == ("scene: 1", 7)
    assert clip_and_frame("tank:00012", "tank:00012") == ("tank:00012", 0)
    assert clip_and_frame("tank:x", "tank") == ("tank:x", 0)


# The command


def test_the_command_says_what_was_written_and_how_to_check_it(cli: Cli, plugins: Path, tmp_path: Path) -> None:
    out = tmp_path / "kins"
    command = ("export", "squares", "--plugin", plugins / "squares.py", "--format", "kins-2020", "--out", out)
    done = cli(*command, "--limit", "5", "--set", "dataset.count=6")
    assert done.returncode == 0, done.stderr
    assert f"5 of 5 instances written to {out} as KINS 2020, split test" in done.stdout
    assert f"ids, source and exported: {out / TABLE}" in done.stdout
    assert "this layout has no place for: stuff" in done.stdout
    (line,) = re.findall(r"check it: amodal-bench (.*)", done.stdout)
    checked = cli(*line.split())
    assert checked.returncode == 0, checked.stderr
    assert "5 read, 5 kept" in checked.stdout
    again = cli(*command)
    assert again.returncode == 2
    assert "not an empty folder" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--format", "cocoa"], "unknown format 'cocoa'. Did you mean 'coco_a'?"),
        (["--format", "kins-v1", "--target-split", "val"], "unknown split of KINS"),
        (
            ["--format", "folder", "--set", "count=6"],
            "export runs no method; for the dataset: --set dataset.count=",
        ),
        (["--format", "folder", "--split", "val"], "unknown split of Squares behind bars 'val'"),
        (["--format", "folder", "--limit", "0"], "--limit takes a whole number from 1, got 0"),
    ],
)
def test_the_command_refuses_before_anything_is_written(
    arguments: list[str], text: str, cli: Cli, plugins: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cli("export", "squares", "--plugin", plugins / "squares.py", "--out", out, *arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert not out.exists()


def test_a_damaged_instance_makes_the_exit_code_one(cli: Cli, plugins: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    cli("export", "squares", "--plugin", plugins / "squares.py", "--format", "coco_a", "--out", out, "--limit", "6")
    (out / "test2014" / "COCO_test2014_000000000001.png").write_bytes(b"")
    done = cli("export", "coco_a", "--split", "test", "--root", out, "--format", "folder", "--out", again)
    assert done.returncode == 1, done.stderr
    assert "3 of 6 instances written" in done.stdout
    assert "left out 3: cannot be read" in done.stdout
    assert "COCO_test2014_000000000001.png" in done.stderr


# What docs/export.md says


def table() -> dict[str, list[str]]:
    lines = (ROOT / "docs" / "export.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_page_tells_of_every_format_what_its_card_says() -> None:
    told = table()
    assert sorted(told) == sorted(FORMATS)
    for name, (read_by, images, _, category, stuff, _) in told.items():
        found = find_format(name, REGISTRY)
        card = found.cls.card
        assert read_by.strip("`") == found.dataset
        assert images.startswith("numbers" if card.image_ids == "numbers" else "as they are"), name
        assert (category.startswith("yes"), stuff.startswith("yes")) == (card.category, card.stuff), name


def test_image_pixels_are_never_changed(squares: AnyDataset, tmp_path: Path) -> None:
    for name in FORMATS:
        out = tmp_path / name
        job = prepare(squares, find_format(name, REGISTRY), out, REGISTRY, limit=3)
        export(job)
        split = rows(out)[0]["exported"].split("/")[1]
        back = open_dataset(job.layout.dataset, REGISTRY, split, {}, DataFlags(root=out))[0]
        assert np.array_equal(back[0].query.image, squares[0].query.image)
