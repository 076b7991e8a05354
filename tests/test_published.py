"""The papers' numbers in configs/tables against a list of them, and the facts around them."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.resolve.presets import find_preset, preset_names
from amodal_bench.resolve.registry import Registry
from amodal_bench.tables.spec import FOLDER, find_table, published, read_spec, tables

LIST = Path(__file__).parent / "data" / "published_numbers.csv"


def test_every_published_value_is_the_one_in_the_list_and_none_is_missing() -> None:
    with LIST.open() as file:
        wanted = Counter(
            (r["paper"], r["table"], r["method"], r["setting"], r["dataset"], r["metric"], float(r["value"]),
             r["diffusion_backbone"])
            for r in csv.DictReader(file)
        )  # fmt: skip
    found = Counter(tuple(value) for spec in tables().values() for value in published(spec))
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


@pytest.mark.parametrize("name", sorted(tables()))
def test_columns_name_datasets_and_splits_that_exist(name: str) -> None:
    registry = Registry()
    known = set(registry.names("datasets"))
    for column in find_table(name).columns:
        if column.key in known:
            assert column.split in registry.dataset(column.key).cls.card.splits, column.id
    assert {c.key for c in find_table("conddiff-3").columns} >= {"kins", "cocoa_cls", "d2sa"}


def test_presets_that_exist_can_be_made() -> None:
    registry = Registry()
    known = {*registry.names("methods"), *preset_names()}
    named = {row.preset for spec in tables().values() for row in spec.rows if row.preset}
    assert {"conddiff", "conddiff-zeroshot", *(f"conddiff-{letter}" for letter in "abcdefghij")} <= named
    for name in sorted(named & known):
        assert find_preset(name, registry).name == name


def test_a_file_that_is_no_table_is_refused_with_its_name_and_fault(tmp_path: Path) -> None:
    text = (FOLDER / "tuning-free-2.yaml").read_text()
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
