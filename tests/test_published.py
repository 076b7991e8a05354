"""The papers' numbers in configs/tables against a list of them, and the facts around them."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.package import CONFIGS
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.tables.names import check_names, known_names
from amodal_bench.tables.spec import ColumnSpec, RowSpec, TableSpec, find_table, read_spec, tables

LIST = Path(__file__).parent / "data" / "published_numbers.csv"


def published(spec: TableSpec) -> Iterator[tuple[str, str, str, str, str, str, float, str]]:
    """Every value that a table prints; derived columns are not printed anywhere."""
    for row in spec.rows:
        for column in spec.columns:
            if column.id in row.printed:
                cell = (spec.paper, row.source or spec.table, row.method, row.setting, column.dataset, column.metric)
                yield *cell, row.printed[column.id], row.backbone


def test_every_published_value_is_the_one_in_the_list_and_none_is_missing() -> None:
    with LIST.open() as file:
        wanted = Counter(
            (r["paper"], r["table"], r["method"], r["setting"], r["dataset"], r["metric"], float(r["value"]),
             r["diffusion_backbone"])
            for r in csv.DictReader(file)
        )  # fmt: skip
    found = Counter(value for spec in tables().values() for value in published(spec))
    assert found == wanted
    assert found.total() == 198


def test_both_papers_are_whole() -> None:
    names = {(spec.paper, spec.table) for spec in tables().values()}
    assert {("conddiff-amo", str(k)) for k in range(1, 5)} <= names
    assert {("tuning-free", "1"), ("tuning-free", "2"), ("tuning-free", "Figures 4-5")} <= names


def test_the_averages_of_five_datasets_are_the_means_of_their_columns() -> None:
    spec = find_table("tuning-free-1")
    average = spec.columns[0]
    rows = [row for row in spec.rows if average.id in row.printed]
    assert len(rows) == 7
    for row in rows:
        mean = sum(row.printed[name] for name in average.mean_of) / 5
        assert abs(mean - row.printed[average.id]) <= 0.05 + 1e-9, row.id


def test_every_value_says_how_it_was_computed() -> None:
    for spec in tables().values():
        for row in spec.rows:
            for column in row.printed:
                origin = spec.origin(row, column)
                assert len(origin.evidence) > 20, (spec.name, row.id)
                assert (origin.protocol is None) or origin.basis != "unknown", (spec.name, row.id)


def test_the_baselines_of_the_third_table_are_of_another_protocol_than_its_own_rows() -> None:
    spec = find_table("conddiff-3")
    origins = {row.id: spec.origin(row, "KINS/mIoU_full") for row in spec.rows}
    assert (origins["c2f-seg"].protocol, origins["c2f-seg"].visible) == ("c2f-post/1", "predicted")
    assert (origins["conddiff-amo"].protocol, origins["conddiff-amo"].visible) == ("conddiff/1", "truth")


SHIPPED = sorted((CONFIGS / "tables").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_table_names_what_there_is(path: Path) -> None:
    registry = Registry()
    spec = read_spec(path)
    check_names(spec, known_names(spec, registry), path)
    for name in {*spec.references, *(row.preset for row in spec.rows if row.preset)}:
        assert find_preset(name, registry).name == name


def test_the_former_keys_of_a_table_are_read() -> None:
    row = RowSpec.model_validate({"id": "a", "method": "A", "who": "a", "own": True})
    assert (row.method_id, row.proposed) == ("a", True)
    assert ColumnSpec.model_validate({"dataset": "KINS", "key": "kins"}).dataset_key == "kins"


def test_the_tables_name_what_they_re_make() -> None:
    named = {row.preset for spec in tables().values() for row in spec.rows if row.preset}
    assert {"conddiff", "conddiff-zeroshot", *(f"conddiff-{letter}" for letter in "abcdefghij")} <= named
    assert {c.dataset_key for c in find_table("conddiff-3").columns} >= {"kins", "cocoa_cls", "d2sa"}


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("[visible, convex_hull,", "[visible, convex_hul,",
         r"references: unknown method or preset 'convex_hul'\. Did you mean 'convex_hull'\? Known: "),
        ("preset: conddiff\n", "preset: condiff\n",
         r"row conddiff-amo: preset: unknown method or preset 'condiff'\. Did you mean 'conddiff'\?"),
        ("dataset_key: kins,", "dataset_key: kin,",
         r"column KINS/mIoU_full: dataset_key: unknown dataset 'kin'\. Did you mean 'kins'\?"),
        ("dataset_key: kins, split: test", "dataset_key: kins, split: tset",
         r"column KINS/mIoU_full: split: unknown split 'tset'\. Did you mean 'test'\? Known: test, train\."),
        ("title: ", "derived_from: conddiff-8\ntitle: ",
         r"derived_from: unknown table 'conddiff-8'\. Did you mean 'conddiff-\d'\?"),
    ],
)  # fmt: skip
def test_a_name_that_there_is_not_is_refused_with_file_field_and_suggestion(
    before: str, after: str, fault: str, tmp_path: Path
) -> None:
    text = (CONFIGS / "tables" / "conddiff-3.yaml").read_text()
    assert before in text
    wrong = tmp_path / "conddiff-3.yaml"
    wrong.write_text(text.replace(before, after, 1))
    spec = read_spec(wrong)
    with pytest.raises(Refused, match=rf"conddiff-3\.yaml: {fault}"):
        check_names(spec, known_names(spec, Registry()), wrong)


def test_a_method_and_a_dataset_that_were_run_are_known() -> None:
    spec = find_table("conddiff-3")
    own = spec.model_copy(
        update={
            "references": ("closing",),
            "columns": (spec.columns[0].model_copy(update={"key": "dots", "split": "test"}),),
        }
    )
    with pytest.raises(Refused, match=r"unknown method or preset 'closing'.* of --plugin is known once"):
        check_names(own, known_names(own, Registry()), Path("own.yaml"))
    check_names(own, known_names(own, Registry(), [("closing", "dots", "test")]), Path("own.yaml"))


def test_a_file_that_is_no_table_is_refused_with_its_name_and_fault(tmp_path: Path) -> None:
    text = (CONFIGS / "tables" / "tuning-free-2.yaml").read_text()
    other = tmp_path / "other.yaml"
    other.write_text(text)
    with pytest.raises(Refused, match=r"other\.yaml: the file of table 'tuning-free-2' must be called"):
        read_spec(other)
    wrong = tmp_path / "tuning-free-2.yaml"
    for before, after, fault in (
        ("COCO-A/mIoU_full: 38.9", "COCO/mIoU_full: 38.9", "row no-leakage: no column 'COCO/mIoU_full'"),
        ("    origin: tf-ablation", "    origin: guess", "no origin 'guess'"),
        ("digits: 1", "digits: many", "not a table: .*digits"),
        ("id: full", "id: no-mask", "two rows have one id"),
        ("rows:", "rows: [", "not a table"),
        (
            "default_protocol: tuning-free/1",
            "default_protocol: tuning-fre/1",
            "default_protocol: unknown protocol 'tuning-fre/1'",
        ),
    ):
        assert before in text
        wrong.write_text(text.replace(before, after, 1))
        with pytest.raises(Refused, match=rf"(?s)tuning-free-2\.yaml: .*{fault}"):
            read_spec(wrong)


def test_an_unknown_table_is_answered_with_the_list() -> None:
    with pytest.raises(UnknownName, match=r"unknown table 'condiff-3'. Did you mean 'conddiff-3'\? Known: conddiff-1"):
        find_table("condiff-3")
    with pytest.raises(UnknownName, match="unknown row of table conddiff-1 'us'"):
        find_table("conddiff-1").row("us")
