"""Ways in which a run's folder arrives damaged, each as a change to a whole one."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.store.rows import INSTANCES, read_table, write_table

Damage = Callable[[Path], object]
GOLDEN = Path(__file__).parent / "data" / "runs" / "squares" / "test"


def bytes_of(name: str, data: bytes) -> Damage:
    return lambda run: (run / name).write_bytes(data)


def record(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(run: Path) -> None:
        whole = json.loads((run / "run.json").read_text())
        change(whole)
        (run / "run.json").write_text(json.dumps(whole))

    return damage


def table(change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(run: Path) -> None:
        path = run / "instances.parquet"
        changed = change(read_table(path, INSTANCES))
        path.unlink()
        pq.write_table(changed, path)

    return damage


def replaced(name: str, values: Callable[[list[Any]], list[Any]], kind: pa.DataType | None = None) -> Damage:
    def change(whole: pa.Table) -> pa.Table:
        index = whole.schema.get_field_index(name)
        field = pa.field(name, kind or whole.schema.field(index).type)
        return whole.set_column(index, field, pa.array(values(whole[name].to_pylist()), field.type))

    return table(change)


def not_utf8(name: str) -> Damage:
    """Texts of a column that are no texts: Arrow writes and reads them as they are."""

    def change(whole: pa.Table) -> pa.Table:
        values = pa.array([b"\xff" + text.encode() for text in whole[name].to_pylist()], pa.binary())
        texts = pa.StringArray.from_buffers(len(values), *values.buffers()[1:])
        column = whole.schema.get_field_index(name)
        return whole.set_column(column, whole.schema.field(column), texts)

    return table(change)


def cut(name: str) -> Damage:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:-40])


def flipped(run: Path) -> None:
    path = run / "instances.parquet"
    whole = bytearray(path.read_bytes())
    for index in range(len(whole) // 4, len(whole) // 2, 7):
        whole[index] ^= 0x55
    path.write_bytes(whole)


def in_progress(run: Path, parts: int) -> None:
    """As a run that is at work: no tables yet, some rows in parts."""
    record(lambda r: (r.update(status="running"), r["counts"].update(done=0)))(run)
    rows = {
        name: pq.read_table(run / f"{name}.parquet").to_pylist() for name in ("instances", "predictions", "timings")
    }
    for name in rows:
        (run / f"{name}.parquet").unlink()
    (run / "parts").mkdir()
    if parts:
        from amodal_bench.store.rows import to_table

        joined = [{**a, **b, **c} for a, b, c in zip(*rows.values(), strict=True)]
        write_table(run / "parts" / "host-1-aaaaaa-000001.parquet", to_table(joined[:parts]))


def directory(run: Path) -> None:
    (run / "run.json").unlink()
    (run / "run.json").mkdir()


# What is wrong -> (how it is made, what the line says). None of these runs has numbers that can be shown.
UNREADABLE: Mapping[str, tuple[Damage, str]] = {
    "record-empty": (bytes_of("run.json", b""), "run.json is not JSON"),
    "record-list": (bytes_of("run.json", b"[]"), "run.json holds a list, not the record of a run"),
    "record-object": (bytes_of("run.json", b"{}"), "it has no schema_version"),
    "record-null": (bytes_of("run.json", b"null"), "run.json holds null"),
    "record-number": (bytes_of("run.json", b"7"), "run.json holds a number"),
    "record-latin": (bytes_of("run.json", '{"preset": "größe"}'.encode("latin-1")), "run.json is not UTF-8"),
    "record-cut": (bytes_of("run.json", b'{"schema_version": 1, "spe'), "run.json is not JSON"),
    "record-deep": (bytes_of("run.json", b"[" * 100_000), "run.json is nested more than 50 deep"),
    "record-folder": (directory, "run.json cannot be read"),
    "record-lost": (lambda run: (run / "run.json").unlink(), "holds no run (no run.json)"),
    "record-newer": (record(lambda r: r.update(schema_version=99)), "has schema version 99; this amodal_bench reads"),
    "record-no-spec": (record(lambda r: r.pop("spec")), "it has no spec"),
    "record-no-preset": (record(lambda r: r.pop("preset")), "it has no preset"),
    "record-no-counts": (record(lambda r: r.pop("counts")), "it has no counts"),
    "record-no-timings": (record(lambda r: r.pop("timings")), "it has no timings"),
    "record-no-request": (record(lambda r: r.pop("request")), "it has no request"),
    "record-status": (record(lambda r: r.update(status="finished")), "status: input should be"),
    "record-spec-text": (record(lambda r: r.update(spec="x")), "spec: "),
    "record-seed-text": (record(lambda r: r["spec"].update(seed="x")), "spec.seed: "),
    "record-options-null": (record(lambda r: r["spec"].update(options=None)), "spec.options: "),
    "record-counts-text": (record(lambda r: r["counts"].update(planned="x")), "counts.planned: "),
    "record-argv": (record(lambda r: r.update(argv=3)), "argv: "),
    "record-funnel": (record(lambda r: r.update(funnel=[1])), "funnel: "),
    "record-weights": (record(lambda r: r.update(weights="x")), "weights: "),
    "record-git": (record(lambda r: r.update(git=3)), "git: "),
    "table-lost": (lambda run: (run / "instances.parquet").unlink(), "but has no instances.parquet"),
    "table-empty": (bytes_of("instances.parquet", b""), "instances.parquet cannot be read"),
    "table-text": (bytes_of("instances.parquet", b"id,image_id\n"), "instances.parquet cannot be read"),
    "table-cut": (cut("instances.parquet"), "instances.parquet cannot be read"),
    "table-flipped": (flipped, "instances.parquet"),
    "table-foreign": (table(lambda t: pa.table({"a": [1, 2], "b": ["x", "y"]})), "instances.parquet"),
    "table-no-group": (table(lambda t: t.drop_columns("group_id")), "instances.parquet"),
    "table-no-counts": (table(lambda t: t.drop_columns([f"v{k}" for k in range(8)])), "instances.parquet"),
    "table-short": (table(lambda t: t.slice(0, 5)), "has 5 rows in instances.parquet where its run.json counts 24"),
    "table-none": (table(lambda t: t.slice(0, 0)), "has 0 rows in instances.parquet where its run.json counts 24"),
    "table-twice": (replaced("id", lambda ids: [ids[0], *ids[:-1]]), "twice"),
    "table-null-counts": (replaced("v3", lambda values: [None, *values[1:]]), "instances.parquet"),
    "table-id-not-utf8": (not_utf8("id"), "instances.parquet cannot be read (Column 0"),
    "table-category-not-utf8": (not_utf8("category"), "instances.parquet cannot be read (Column 3"),
    "table-null-ids": (replaced("id", lambda ids: [None, *ids[1:]]), "instances.parquet"),
    "table-null-groups": (replaced("group_id", lambda ids: [None, *ids[1:]]), "instances.parquet"),
    "table-text-counts": (replaced("v3", lambda v: ["many"] * len(v), pa.string()), "instances.parquet"),
    "running": (lambda run: in_progress(run, 4), "is running, 4 of 24 instances"),
    "running-first": (lambda run: in_progress(run, 0), "is running, 0 of 24 instances"),
}

# What of a run can be lost without its numbers.
WITHOUT_PICTURES: Mapping[str, Damage] = {
    "pictures-lost": lambda run: (run / "predictions.parquet").unlink(),
    "pictures-empty": bytes_of("predictions.parquet", b""),
    "pictures-cut": cut("predictions.parquet"),
    "pictures-foreign": lambda run: pq.write_table(pa.table({"a": [1]}), run / "predictions.parquet"),
}
WITHOUT_TIMES: Mapping[str, Damage] = {
    "times-lost": lambda run: (run / "timings.parquet").unlink(),
    "times-empty": bytes_of("timings.parquet", b""),
    "times-text": bytes_of("timings.parquet", b"id,seconds\n"),
    "times-foreign": lambda run: pq.write_table(pa.table({"a": [1]}), run / "timings.parquet"),
}


def healthy(results: Path) -> Path:
    """The three golden runs on squares under a results folder."""
    shutil.copytree(GOLDEN, results / "squares" / "test")
    return results


def damaged(results: Path, label: str, damage: Damage) -> Path:
    """A copy of a whole run under another name, damaged; its record holds no digests, which would tell it all."""
    source = next((GOLDEN / "dilate").iterdir())
    run = results / "squares" / "test" / label / f"{len(label) + sum(map(ord, label)):012x}"
    shutil.copytree(source, run)
    record(lambda r: r.update(preset=label, key=run.name, tables={}))(run)
    damage(run)
    return run
