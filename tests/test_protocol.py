from pathlib import Path

import numpy as np
import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.metrics.protocol import (
    Interval,
    find_protocol,
    protocols,
    read_protocol,
    split_protocols,
    with_buckets,
)

RATES = np.array([0, 0.005, 0.2, 0.4, 0.7, 1])


def test_the_default_buckets_put_every_rate_into_one() -> None:
    buckets = find_protocol("instance-mean/1").buckets
    assert [str(b) for b in buckets] == ["{0}", "(0, 0.2)", "[0.2, 0.4)", "[0.4, 0.7)", "[0.7, 1]"]
    inside = np.stack([b.contains(RATES) for b in buckets])
    assert inside.argmax(axis=0).tolist() == [0, 1, 2, 3, 4, 4]
    dense = np.stack([b.contains(np.linspace(0, 1, 1001)) for b in buckets])
    assert (dense.sum(axis=0) == 1).all()


def test_conddiffs_buckets_leave_its_gap() -> None:
    inside = np.stack([b.contains(RATES) for b in find_protocol("conddiff/1").buckets])
    assert inside.sum(axis=0).tolist() == [1, 0, 1, 1, 1, 1]


def test_a_bare_name_is_the_newest_version() -> None:
    assert find_protocol("pooled") is find_protocol("pooled/1")


def test_an_unknown_protocol_says_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"unknown protocol 'poled/1'. Did you mean 'pooled/1'\? Known: c2f-post/1,"):
        find_protocol("poled/1")


def test_all_of_the_design_are_there() -> None:
    assert set(protocols()) == {
        "instance-mean/1", "pooled/1", "conddiff/1", "sdamodal/1",
        "c2f/1", "c2f-post/1", "deocclusion/1", "tuning-free/1", "end-to-end/1",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["[0.4, 0.2)", "(0.3, 0.3]", "0.2-0.4", "[a, b]", ""])
def test_an_interval_that_holds_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="interval"):
        Interval.parse(text)


def test_buckets_can_be_given_as_edges_or_intervals() -> None:
    default = find_protocol("pooled/1")
    assert [str(b) for b in with_buckets(default, "0,.1,.5,1").buckets] == ["{0}", "(0, 0.1]", "(0.1, 0.5]", "(0.5, 1]"]
    assert [str(b) for b in with_buckets(default, "[0,.5);[.5,1]").buckets] == ["[0, 0.5)", "[0.5, 1]"]
    with pytest.raises(Refused, match=r"--buckets takes rising edges like .* got '0,.5,.2'"):
        with_buckets(default, "0,.5,.2")


def test_a_file_with_an_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "own-1.yaml"
    path.write_text("id: own/1\ntitle: t\nsource: s\nagregate: mean\n")
    with pytest.raises(Refused, match=r"own-1.yaml: not a protocol: (.|\n)*agregate"):
        read_protocol(path)


# Overrides of a protocol's fields.


def test_a_changed_field_shows_in_the_id() -> None:
    changed = find_protocol("instance-mean/1:min_hidden=8")
    assert (changed.id, changed.min_hidden) == ("instance-mean/1:min_hidden=8", 8)
    assert find_protocol(changed.id) == changed
    assert find_protocol("instance-mean:min_hidden=8").id == changed.id
    assert find_protocol("instance-mean/1:min_hidden=0") == find_protocol("instance-mean/1")
    many = find_protocol("pooled:paste=true,rates=[0.2, 0.5),min_hidden=3,subsets=[0,.1);[.9,1]")
    assert many.id == "pooled/1:min_hidden=3,paste=true,rates=[0.2,0.5),subsets=[0,0.1);[0.9,1]"
    assert find_protocol(many.id) == many


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("pooled/1,c2f/1", ["pooled/1", "c2f/1"]),
        ("pooled/1:min_hidden=8,paste=true,c2f/1", ["pooled/1:min_hidden=8,paste=true", "c2f/1"]),
        ("a.yaml:rates=[0,.5),b:rates=(.5, 1]", ["a.yaml:rates=[0,.5)", "b:rates=(.5, 1]"]),
        ("pooled,pooled", ["pooled"]),
    ],
)
def test_names_and_their_changes_stand_between_commas(text: str, names: list[str]) -> None:
    assert split_protocols(text) == names


def test_an_empty_name_of_a_protocol_is_refused() -> None:
    with pytest.raises(Refused, match="--protocol takes names separated by commas, got 'pooled,,c2f'"):
        split_protocols("pooled,,c2f")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "min_hiden=8",
            r"unknown field of protocol pooled/1 'min_hiden'\. Did you mean 'min_hidden'\? Known: ",
        ),
        ("id=mine/1", "unknown field of protocol pooled/1 'id'"),
        ("min_hidden=many", r"--protocol pooled/1:min_hidden=many: min_hidden=many: Input should be a valid integer"),
        ("min_hidden=-1", "min_hidden=-1: Input should be greater than or equal to 0"),
        ("aggregate=median", "aggregate=median: Input should be 'mean' or 'pooled'"),
        ("rates=.2", r"rates=.2: .*an interval is written like \[0.2, 0.4\)"),
    ],
)
def test_a_field_or_value_that_there_is_not_is_refused(text: str, fault: str) -> None:
    with pytest.raises(Refused, match=fault):
        find_protocol(f"pooled/1:{text}")
