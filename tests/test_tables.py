"""Tables: an oracle over 12,345 rows, ranks, notes, escapes, bad folders, the committed ones byte for byte."""

import json
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from amodal_bench.cli import application
from amodal_bench.errors import Refused, RunDamaged, UnknownName
from amodal_bench.masks.counts import COLUMNS
from amodal_bench.metrics.protocol import Protocol, find_protocol, protocols
from amodal_bench.results.finished import load
from amodal_bench.results.rank import ranks
from amodal_bench.results.select import RunQuery, Selection, results_runs
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.rows import INSTANCES, TIMINGS, write_table
from amodal_bench.tables.measured import TableRequest, build
from amodal_bench.tables.paper import PaperTable
from amodal_bench.tables.render import escape_markdown, escape_tex, to_csv, to_markdown, to_tex
from amodal_bench.tables.sheet import Cell, Heading, Sheet
from amodal_bench.tables.spec import TableSpec, find_table, tables
from amodal_bench.tables.values import FLOOR

app = application()

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "tests" / "data" / "runs"
NASTY = r"<b>&amp;</b> \input{x} 50%_$a^2$ #1 ~|`*[x](y)* {\"}"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def counts(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """n instances with all eight counts, some empty, some in full view, some with visible pixels outside."""
    table = rng.integers(0, 60, size=(n, 8))
    table[rng.random((n, 8)) < 0.3] = 0
    table[::5, 2:4] = 0  # nothing hidden
    table[::97, 1:] = 0  # nothing at all
    table[:, 4:6] *= rng.random((n, 1)) < 0.2
    return pd.DataFrame(table, columns=list(COLUMNS))


def make_run(
    results: Path,
    frame: pd.DataFrame,
    name: str = "m",
    dataset: str = "d",
    key: str = "0" * 12,
    spec: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    planned: int | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Path:
    """A run folder with these counts, as the store writes it."""
    facts: dict[str, Any] = {"method": name, "revision": 1, "params": {}, "checkpoint": None, "dataset": dataset,
             "split": "test", "options": {}, "fingerprint": "f" * 64, "dataset_source": None,
             "visible": "gt", "seed": 0}  # fmt: skip
    facts |= spec or {}
    path = results / dataset / str(facts["split"]) / re.sub(r"\W", "_", name) / key
    path.mkdir(parents=True)
    n = len(frame)
    images = [f"{k // 3:05d}" for k in range(n)]
    facts_of_rows: dict[str, Any] = {"is_stuff": False, "height": 9, "width": 9, "status": "ok"}
    ids = {"id": [f"{dataset}/test/{i}/{k}" for k, i in enumerate(images)], "ann_id": [str(k) for k in range(n)]}
    rows = pd.DataFrame({**ids, "image_id": images, "group_id": images}).assign(**facts_of_rows)
    rows = pd.concat([rows, frame.reset_index(drop=True)], axis=1)
    rows = rows.loc[:, ~rows.columns.duplicated(keep="last")].reindex(columns=INSTANCES.names)
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    write_table(path / "instances.parquet", pa.Table.from_pylist(records, schema=INSTANCES))
    times = [{"id": row["id"], "seconds": 0.25, "worker": "w"} for row in records]
    write_table(path / "timings.parquet", pa.Table.from_pylist(times, schema=TIMINGS))
    failed = int((rows["status"] != "ok").sum())
    whole = planned is None or planned == n
    status = "partial" if not whole else "errors" if failed else "complete"
    request = {"method": name, "dataset": dataset, "params": {}, "options": {}, **(asked or {})}
    told = {"schema_version": 1, "status": status, "key": key, "preset": name, "spec": facts, "request": request,
            "counts": {"planned": planned or n, "asked": n, "done": n - failed, "error": failed},
            "timings": {"started": "", "seconds": 0.0}, **(record or {})}  # fmt: skip
    (path / "run.json").write_text(json.dumps(told))
    return path


def weights(setting: str) -> dict[str, str]:
    return {"path": "model.safetensors", "sha256": "f" * 64, "setting": setting}


def by_hand(rows: list[list[int]], p: Protocol, metric: str) -> float:
    """Ten lines of plain Python: the score of one protocol from the eight counts of every instance."""
    top, bottom = 0, 0
    shares: list[float] = []
    for v in rows:
        given = [k for k in range(8) if k & 4 and (k & 2 or not p.clip_visible)]
        guess = {k for k in range(8) if k & 1 or (p.paste and k & 4)}
        region = [k for k in range(8) if metric == "mIoU_full" or k not in given]
        hidden, amodal = v[2] + v[3], v[2] + v[3] + v[6] + v[7]
        occluded = hidden > p.min_hidden if p.occluded == "any" else amodal != sum(v[k] for k in given)
        i, u = sum(v[k] for k in region if k in guess and k & 2), sum(v[k] for k in region if k in guess or k & 2)
        if metric == "mIoU_full" and u == 0 and p.undefined == "one":
            i = u = 1
        if u and (metric == "mIoU_full" or p.invisible == "all" or occluded):
            top, bottom, shares = top + i, bottom + u, [*shares, i / u]
    return 100 * (top / bottom if p.aggregate == "pooled" else math.fsum(shares) / len(shares))


def test_a_table_of_12_345_rows_agrees_with_plain_python_under_every_protocol(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    frame = counts(rng, 12_345)
    make_run(tmp_path, frame)
    sheet = build(results_runs(tmp_path), TableRequest(protocols=list(protocols().values()), floor=False))
    rows = frame.to_numpy().tolist()
    assert len(sheet.records) == sum(1 + (p.invisible != "none") for p in protocols().values())
    for record in sheet.records:
        protocol, metric = find_protocol(str(record["protocol"])), str(record["metric"])
        assert record["measured"] == pytest.approx(by_hand(rows, protocol, metric), abs=1e-9), (protocol.id, metric)
        low, high = float(record["low"] or 0), float(record["high"] or 0)
        assert low < float(record["measured"] or 0) < high
        assert high - low < 3


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs" / "tables").glob("embedded*")))
def test_committed_tables_are_made_again_byte_for_byte(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "docs" / "tables" / "README.md").read_text()
    (command,) = [line for line in readme.splitlines() if line.startswith("amodal-bench") and line.endswith(f"/{name}")]
    arguments = shlex.split(command)[1:]
    done = call(*arguments[:-1], tmp_path / name)
    assert done.exit_code == 0, done.output
    assert (tmp_path / name).read_bytes() == (ROOT / "docs" / "tables" / name).read_bytes(), command


def test_best_and_second_at_the_printed_precision_among_their_like() -> None:
    values = [("a", 81.24), ("a", 81.16), ("a", 80.0), ("b", 99.0), (None, 90.0), ("a", math.nan), ("a", 80.04)]
    assert ranks(values, 1) == ["best", "best", "second", "", "", "", "second"]
    assert ranks(values, 2) == ["best", "second", "", "", "", "", ""]
    assert ranks([("a", 81.24), ("a", 81.16), ("a", 80.0), ("a", 80.04)], 0) == ["best", "best", "second", "second"]


def test_published_values_are_ranked_within_one_evaluation_only() -> None:
    text = to_markdown(PaperTable(find_table("conddiff-3"), Selection([])).sheet())
    assert "**82.22** <sup>a</sup>" in text  # C2F-Seg, the best of its own protocol
    assert "| CondDiff-AMO | supervised | 95.21 <sup>b</sup> |  |" in text  # alone under its own: no rank
    assert "81.45 <sup>c</sup>" in text
    assert "**81.45**" not in text  # of no known evaluation


def test_a_cell_that_was_not_run_stays_empty_and_is_never_the_published_value() -> None:
    for spec in tables().values():
        for record in PaperTable(spec, Selection([])).sheet().records:
            assert record["measured"] is None
            assert record["run"] is None


def papers(results: Path, spec: TableSpec) -> list[Mapping[str, Any]]:
    return list(PaperTable(spec, results_runs(results)).sheet().records)


def test_a_run_fills_its_cell_under_the_protocol_of_the_published_value(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    frame = counts(rng, 200)
    make_run(tmp_path, frame, "conddiff", "kins", record={"weights": weights("supervised")})
    make_run(tmp_path, frame, "visible", "kins", key="1" * 12)
    records = papers(tmp_path, find_table("conddiff-3"))
    (mine,) = [r for r in records if r["row"] == "CondDiff-AMO" and r["metric"] == "mIoU_inv" and r["measured"]]
    assert (mine["published"], mine["protocol"], mine["n"]) == (77.73, "conddiff/1", mine["n"])
    assert mine["measured"] == pytest.approx(
        by_hand(frame.to_numpy().tolist(), find_protocol("conddiff/1"), "mIoU_inv")
    )
    assert mine["make"] == "amodal-bench bench --method conddiff --dataset kins --split test"
    assert mine["run"] == "kins/test/conddiff/000000000000"
    reference = [r for r in records if r["setting"] == "reference" and r["measured"] is not None]
    assert {r["row"] for r in reference} == {"visible"}
    text = to_markdown(PaperTable(find_table("conddiff-3"), results_runs(tmp_path)).sheet())
    assert "95.21 <sup>b</sup> | " in text
    assert "| visible | reference |" in text


def test_other_options_parameters_splits_and_settings_do_not_fill_a_cell(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    frame = counts(rng, 50)
    make_run(tmp_path, frame, "conddiff", "kins", asked={"params": {"steps": 2}})
    make_run(tmp_path, frame, "conddiff", "d2sa", asked={"options": {"include_stuff": False}})
    make_run(tmp_path, frame, "conddiff", "cocoa_cls", spec={"split": "val"}, record={"weights": weights("zero-shot")})
    make_run(tmp_path, frame, "conddiff", "coco_a", spec={"split": "test"})
    for name in ("conddiff-1", "conddiff-3"):
        assert not [r for r in papers(tmp_path, find_table(name)) if r["measured"] is not None]
    table = PaperTable(find_table("conddiff-3"), results_runs(tmp_path))
    assert any(
        "not shown, since the weights of cocoa_cls/val/conddiff/" in n and "zero-shot" in n for n in table.sheet().notes
    )


def test_an_average_needs_all_its_datasets(tmp_path: Path, rng: np.random.Generator) -> None:
    splits = {"coco_a": "val", "bsds_a": "test", "kins": "test", "fishbowl": "test", "sailvos": "val"}
    spec = find_table("tuning-free-1")
    for index, (dataset, split) in enumerate(splits.items()):
        (average,) = [r for r in papers(tmp_path, spec) if r["row"] == "SAM" and r["dataset"] == "avg-of-5"]
        assert average["measured"] is None
        make_run(tmp_path, counts(rng, 40 + index), "sam", dataset, spec={"split": split})
    values = {r["dataset"]: r["measured"] for r in papers(tmp_path, spec) if r["row"] == "SAM"}
    assert values.pop("avg-of-5") == pytest.approx(sum(values.values()) / 5)
    gap = {
        r["dataset"]: r["measured"] for r in papers(tmp_path, find_table("tuning-free-averages")) if r["row"] == "SAM"
    }
    assert gap["gap"] == pytest.approx(gap["COCO-A and BSDS-A"] - gap["three new"])


def test_seeds_of_one_spec_are_a_mean_with_its_spread(tmp_path: Path, rng: np.random.Generator) -> None:
    for seed in range(3):
        make_run(tmp_path, counts(rng, 60), key=str(seed) * 12, spec={"seed": seed})
    sheet = build(
        results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], metrics=["mIoU_full"], buckets=True)
    )
    single = [
        Selection([run]) for run in results_runs(tmp_path).runs
    ]  # fmt: skip
    alone = [build(book, TableRequest([find_protocol("pooled/1")], buckets=True)).records for book in single]
    for index, record in enumerate(r for r in sheet.records if r["method"] == "m"):
        values = [float(rows[index]["measured"] or 0) for rows in alone]
        assert record["measured"] == pytest.approx(np.mean(values))
        assert record["sd"] == pytest.approx(np.std(values, ddof=1))
        assert record["seeds"] == 3
    assert re.search(r"\d\.\d ± \d", to_markdown(sheet))
    assert any("mean and sd of 3 seeds" in note for note in sheet.notes)


def test_partial_runs_and_runs_with_errors_are_flagged_and_not_ranked(tmp_path: Path, rng: np.random.Generator) -> None:
    frame = counts(rng, 90)
    make_run(tmp_path, frame, "a")
    make_run(tmp_path, frame.assign(v1=0), "b", key="1" * 12)
    make_run(tmp_path, frame.iloc[:30].assign(v2=0, v6=0), "part", key="2" * 12, planned=90)
    broken = frame.assign(status=["error" if k == 4 else "ok" for k in range(90)], v1=0, v2=0)
    make_run(tmp_path, broken, "broken", key="3" * 12)
    sheet = build(results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], metrics=["mIoU_full"]))
    cells = {labels[0]: row[0] for labels, row in sheet.rows}
    assert [cells[name].rank for name in ("a", "b", "part", "broken", FLOOR)] == ["second", "best", "", "", ""]
    assert (cells["part"].flag, cells["broken"].flag) == ("partial: 30 of 90", "1 error")
    assert max(cells["part"].value, cells["broken"].value) > cells["b"].value
    assert "(partial: 30 of 90)" in to_markdown(sheet)
    assert "(1 error)" in to_tex(sheet)


def test_runs_on_other_data_stand_in_columns_of_their_own(tmp_path: Path, rng: np.random.Generator) -> None:
    for index, mark in enumerate("ab"):
        make_run(tmp_path, counts(rng, 30), key=mark * 12, spec={"fingerprint": mark * 64})
        make_run(tmp_path, counts(rng, 30), "other", key=f"{index}" * 12, spec={"fingerprint": mark * 64})
    sheet = build(results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], metrics=["mIoU_full"], floor=False))
    assert [labels[0] for labels, _ in sheet.rows] == ["m", "other"]
    assert ["aaaaaaaa" in sheet.columns[0].group, "bbbbbbbb" in sheet.columns[1].group] == [True, True]


def test_a_paper_table_shows_no_number_where_two_runs_of_one_name_differ(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    for mark in "ab":
        make_run(tmp_path, counts(rng, 30), "conddiff", "kins", key=mark * 12, spec={"fingerprint": mark * 64})
    table = PaperTable(find_table("conddiff-3"), results_runs(tmp_path))
    assert all(record["measured"] is None for record in table.sheet().records)
    (note,) = table.sheet().problems
    assert note == (
        "2 runs answer to conddiff on kins/test and differ in fingerprint (aaaaaaaaaaaa, bbbbbbbbbbbb): not shown. "
        "Keep one under that name, or give a --results folder that holds one"
    )


def test_one_name_with_other_parameters_gets_a_line_a_key(tmp_path: Path, rng: np.random.Generator) -> None:
    for steps in (1, 2):
        make_run(tmp_path, counts(rng, 30), key=str(steps) * 12, spec={"params": {"steps": steps}})
    sheet = build(results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], floor=False))
    assert [labels[0] for labels, _ in sheet.rows] == ["m [111111111111]", "m [222222222222]"]


def test_missing_rows_newer_schemas_and_cut_off_records_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = make_run(tmp_path, counts(rng, 30))
    record = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(
        json.dumps({**record, "counts": {"planned": 31, "asked": 31, "done": 31, "error": 0}})
    )
    with pytest.raises(
        RunDamaged, match=r"has 30 rows in instances.parquet where its run.json counts 31: .*Copy it again"
    ):
        load(RunFolder(path))
    (path / "run.json").write_text(json.dumps({**record, "schema_version": 99}))
    with pytest.raises(RunDamaged, match="has schema version 99; this amodal_bench reads up to 1: upgrade it"):
        load(RunFolder(path))
    (path / "run.json").write_text("{")
    with pytest.raises(RunDamaged, match="is not JSON"):
        load(RunFolder(path))
    assert [results_runs(tmp_path).runs, len(results_runs(tmp_path).left_out)] == [[], 1]


def test_a_bucket_with_nothing_in_it_is_empty_in_every_format(tmp_path: Path, rng: np.random.Generator) -> None:
    frame = counts(rng, 30).assign(v2=0, v3=0)
    make_run(tmp_path, frame)
    sheet = build(results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], metrics=["mIoU_inv"], buckets=True))
    assert {r["measured"] for r in sheet.records if not math.isnan(float(r["measured"] or 0))} <= {None}
    assert "nan" not in (to_markdown(sheet) + to_tex(sheet) + to_csv(sheet)).lower()


def test_the_floor_is_left_out_where_a_run_is_it() -> None:
    wanted = TableRequest([find_protocol("pooled/1")], query=RunQuery(datasets=["squares"]))
    book = results_runs(RUNS)
    assert FLOOR not in [labels[0] for labels, _ in build(book, wanted).rows]
    without = Selection([run for run in book.runs if run.name != "visible"])
    rows = {labels[0]: cells[0].value for labels, cells in build(without, wanted).rows}
    visible = {labels[0]: cells[0].value for labels, cells in build(book, wanted).rows}["visible"]
    assert rows[FLOOR] == visible


def test_names_come_out_as_they_are_whatever_they_hold(tmp_path: Path, rng: np.random.Generator) -> None:
    make_run(tmp_path, counts(rng, 30), name=NASTY)
    sheet = build(results_runs(tmp_path), TableRequest([find_protocol("pooled/1")], title=NASTY))
    markdown, tex = to_markdown(sheet), to_tex(sheet)
    assert "<b>" not in markdown
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1  # the name's own bar adds no column
    assert r"\textbackslash{}input\{x\} 50\%\_\$a\textasciicircum{}2\$ \#1 \textasciitilde{}\textbar{}" in tex
    assert r"\input{x}" not in tex
    assert r"mIoU\_full" in tex
    assert not re.search(r"(?<!\\)[_%#]", tex.replace(r"\label{tab:table}", ""))
    rows = [line for line in tex.splitlines() if line.endswith(r" \\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {2}


def test_every_character_is_escaped_once() -> None:
    assert escape_tex("a_b & c\n{d}") == r"a\_b \& c \{d\}"
    assert escape_markdown("a|b <i> `x` _y_ mIoU_full") == r"a\|b &lt;i&gt; \`x\` \_y\_ mIoU_full"


def test_latex_compiles_where_there_is_an_engine(tmp_path: Path) -> None:
    engine = next((e for e in ("pdflatex", "xelatex", "lualatex", "tectonic") if shutil.which(e)), None)
    if engine is None:
        pytest.skip("no TeX engine here; the escapes are checked above")
    names = [Cell(1.0, 0.5, 1.5, mark="a", flag="partial: 1 of 2", rank="best"), Cell(2.0, spread=0.1), Cell()]
    heads = tuple(Heading(NASTY, f"x_{k}") for k in range(3))
    sheets = [Sheet("nasty_name", NASTY, ("method",), heads, (((NASTY,), tuple(names)),), (NASTY,))]
    sheets += [PaperTable(spec, results_runs(RUNS)).sheet() for spec in tables().values()]
    body = "\n".join(to_tex(sheet) for sheet in sheets)
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\extrafloats{100}"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    done = subprocess.run([engine, "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]


def test_latex_is_balanced() -> None:
    for spec in tables().values():
        text = re.sub(r"\\[{}]", "", to_tex(PaperTable(spec, results_runs(RUNS)).sheet()))
        depth = 0
        for character in text:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0
        assert text.count(r"\begin") == text.count(r"\end")


def test_the_tables_command_writes_all_and_says_what_to_do_without_runs(tmp_path: Path) -> None:
    done = call("tables", "--results", tmp_path)
    assert done.exit_code == 0, done.output
    assert f"{tmp_path} holds no finished run; make one: amodal-bench bench --method visible" in done.output.replace(
        "\n", ""
    )
    made = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert made == sorted(f"{n}.{s}" for n in tables() if n != "related" for s in ("csv", "md", "tex"))
    again = {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()}
    assert call("tables", "--results", tmp_path).exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "tables").iterdir()} == again


def test_the_table_command_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    cases: list[tuple[list[str | Path], type[Refused], str]] = [
        (["--results", tmp_path], Refused, "holds no finished run; make one"),
        (["--results", RUNS, "--method", "dilated"], UnknownName, "Did you mean 'dilate'?"),
        (["--results", RUNS, "--dataset", "square"], UnknownName, "Did you mean 'squares'?"),
        (["--results", RUNS, "--metrics", "mIoU_ful"], UnknownName, "Did you mean 'mIoU_full'?"),
        (["--results", RUNS, "--format", "html"], UnknownName, "unknown format 'html'"),
        (["--results", RUNS, "-m", "dilate", "-d", "synthetic"], Refused, "no finished run of dilate on synthetic"),
    ]
    for arguments, error, message in cases:
        done = call("table", *arguments)
        assert isinstance(done.exception, error), done.output
        assert message in str(done.exception)


def test_aliases_timings_and_csv_of_the_table_command() -> None:
    done = call("table", "--results", RUNS, "-m", "dilate", "--metrics", "mIoU_occ", "--timings", "--format", "md")
    assert done.exit_code == 0, done.output
    assert "mIoU_inv ↑" in done.output
    assert "s/instance ↓ |" in done.output
    assert re.search(r"\| dilate \| 25\.6 \[22\.2, 29\.4\] \| 0\.\d{4} \|", done.output)
