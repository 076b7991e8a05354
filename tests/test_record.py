"""run.json: what is no record of a run is named with its place and the way out, whatever it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amodal_bench.errors import RunDamaged
from amodal_bench.store.record import parse_record, read_record
from amodal_bench.store.spec import RunSpec

GOLDEN = sorted((Path(__file__).parent / "data" / "runs").glob("*/*/*/*/run.json"))
PATH = Path("run.json")
Change = Callable[[dict[str, Any]], object]


def record() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(GOLDEN[0].read_text())
    return whole


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parts[-3])
def test_a_record_of_ours_is_read_as_it_was_written(path: Path) -> None:
    """Written before pretrained models had a field of their own in the spec: the key stays."""
    written = json.loads(path.read_text())
    alone = bool(written["pretrained"]) and written["weights"] is None
    digest = written["spec"]["checkpoint"]
    told_apart = {"checkpoint": None if alone else digest, "pretrained": digest if alone else None}
    if "pretrained" in written["spec"]:
        told_apart = {}
    whole = {"spec": {**written["spec"], **told_apart}, "request": {"preset": None, **written["request"]}}
    found = read_record(path)
    since = {"tables": {}, "files": {"release": "", "unlike_published": ""}}  # what a record says since then
    assert found == {**since, **written, **whole}
    assert RunSpec.model_validate(found["spec"]).key() == written["key"] == path.parent.name


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[]", "run.json holds a list, not the record of a run; copy the folder again"),
        (b"null", "run.json holds null, not"),
        (b"12", "run.json holds a number, not"),
        (b"true", "run.json holds a truth value, not"),
        (b'"run"', "run.json holds a text, not"),
        (b"", "run.json is not JSON; copy the folder again, or start over with --fresh"),
        (b'{"schema_version": 1, "spe', "run.json is not JSON"),
        (b"\xff\xfe{\x00}\x00", r"run.json is not UTF-8 \(byte 0\)"),
        (b"{}", r"it has no schema_version; it has no status; it has no key; and 5 faults more"),
        (b"[" * 100_000, "run.json is nested more than 50 deep"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "run.json is nested more than 50 deep"),
        (b'{"key": "\\ud800"}', "run.json holds text that is no Unicode"),
        (b"9" * 5000, "run.json is not JSON"),
        (b" " * (2**24 + 1), "run.json is larger than 16,384 KiB"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_record_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(RunDamaged, match=told):
        parse_record(PATH, data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.pop("preset"), "it has no preset"),
        (lambda r: r["spec"].pop("fingerprint"), "it has no spec.fingerprint"),
        (lambda r: r["request"].pop("params"), "it has no request.params"),
        (
            lambda r: r.update(status="done"),
            "status: input should be 'running', 'partial', 'errors' or 'complete', got",
        ),
        (lambda r: r.update(key="../../x"), "key: "),
        (lambda r: r.update(spec=[]), "spec: "),
        (lambda r: r["spec"].update(seed="7"), "spec.seed: input should be a valid integer, got '7'"),
        (lambda r: r["spec"].update(split=None), "spec.split: "),
        (lambda r: r["spec"].update(surprise=1), "spec.surprise: "),
        (lambda r: r["counts"].update(planned=-1), "counts.planned: input should be greater than or equal to 0"),
        (lambda r: r["counts"].update(done=True), "counts.done: "),
        (lambda r: r["counts"].update(error=10**300), "counts.error: .*got 1000.*[.]{3}"),
        (lambda r: r["timings"].update(seconds=float("nan")), "timings.seconds: input should be a finite number"),
        (lambda r: r.update(argv="bench"), "argv: "),
        (lambda r: r.update(weights=[1]), "weights: "),
        (lambda r: r.update(pretrained={"unet": "x"}), "pretrained.unet: "),
        (lambda r: r.update(versions=None), "versions: "),
        (lambda r: r.update(schema_version="1"), "schema_version: "),
        (lambda r: r.update(schema_version=99), "schema version 99; this amodal_bench reads up to 1: upgrade it"),
    ],
    ids=range(19),
)
def test_a_part_that_is_missing_or_of_another_kind_is_named(change: Change, told: str) -> None:
    whole = record()
    change(whole)
    with pytest.raises(RunDamaged, match=f"run.json .*{told}"):
        parse_record(PATH, json.dumps(whole).encode())


def test_what_only_tells_of_the_origin_may_be_missing_and_what_is_new_is_kept() -> None:
    whole = record()
    for name in ("argv", "funnel", "git", "versions", "hardware", "device_kind", "weights", "pretrained"):
        del whole[name]
    found = parse_record(PATH, json.dumps({**whole, "digests": {"plan": "x"}}).encode())
    assert (found["argv"], found["funnel"], found["weights"], found["pretrained"]) == ([], None, None, {})
    assert found["digests"] == {"plan": "x"}


def test_a_record_that_cannot_be_opened_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(RunDamaged, match=r"holds no run \(no run.json\)"):
        read_record(tmp_path / "run.json")
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RunDamaged, match=r"run.json cannot be read \(Is a directory\)"):
        read_record(tmp_path / "run.json")
