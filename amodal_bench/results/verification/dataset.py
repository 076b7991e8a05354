"""What a run's record and plan say of its dataset and its code, compared with those that are here."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from amodal_bench.errors import Refused
from amodal_bench.resolve.locate import find_checkpoint, find_pretrained, weights_root
from amodal_bench.resolve.presets import PresetFile, find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.recorded import Opened, Recorded
from amodal_bench.results.verification.ledger import SHOWN
from amodal_bench.results.verification.means import Means


def check_dataset(record: dict[str, Any], recorded: Recorded, opened: Opened) -> Iterator[str]:
    """Fingerprint and funnel are those of the record."""
    if fault := recorded.fingerprint_fault(opened):
        yield fault
    funnel, opened_funnel = record["funnel"], opened.dataset.funnel.as_dict()
    for name in ("read", "kept") if funnel else ():
        if funnel[name] != opened_funnel[name]:
            yield f"the dataset has {opened_funnel[name]} annotations {name} here, run.json says {funnel[name]}"


def check_plan(stored: pa.Table, here: pa.Table) -> Iterator[str]:
    """plan.parquet is the plan that the dataset has: the same instances and groups in the same order."""
    if stored.equals(here):
        return
    missing = {
        "instances that the dataset does not have": _without(stored, here),
        "no row for instances of the dataset": _without(here, stored),
    }
    for text, ids in missing.items():
        if len(ids):
            more = ", ..." if len(ids) > SHOWN else ""
            yield f"plan.parquet has {text} ({len(ids)}): {', '.join(ids.slice(0, SHOWN).to_pylist())}{more}"
    if not any(len(ids) for ids in missing.values()):
        columns = [name for name in here.column_names if not stored[name].equals(here[name])]
        yield f"plan.parquet has the instances of the dataset, but not its {', '.join(columns)} in every row"


def check_methods_source(record: dict[str, Any], plugins: Registry) -> tuple[list[str], list[str]]:
    """Differences and notes on the source of a method that is a plugin: it is compared where it was given."""
    spec = record["spec"]
    recorded, name = spec["method_source"], spec["method"]
    if not recorded:
        return [], []
    if name not in plugins.names("methods"):
        return [], [f"the source of the plugin {name} was not compared: give it with --plugin FILE"]
    found = plugins.method(name).source
    if found == recorded:
        return [], []
    here = f"the plugin of sha256 {found[:12]}..." if found else "built in"
    return [f"the method {name} is {here} here, and was the plugin of sha256 {recorded[:12]}... for the run"], []


def check_weights(record: dict[str, Any], means: Means, registry: Registry) -> tuple[list[str], list[str]]:
    """Differences and notes on the weights: those that the command names must fit, others are told of.

    No number is made with them here, so that weights that have been replaced since leave a run reproducible.
    """
    spec, request = record["spec"], record["request"]
    recorded = spec["checkpoint"], spec["pretrained"]
    if not any(recorded):
        return [], []
    digests = " and ".join(f"{digest[:12]}..." for digest in recorded if digest)
    try:
        preset_file = PresetFile.model_validate(request["preset"]) if request["preset"] else None
        preset = find_preset(record["preset"], registry, request["params"], preset_file)
        root = weights_root(means.weights)
        checkpoint = find_checkpoint(preset, spec["dataset"], means.checkpoint, root)
        pretrained = find_pretrained(preset, root)
    except (Refused, ValidationError) as error:
        if means.checkpoint and isinstance(error, Refused):
            raise
        return [], [f"its weights (sha256 {digests}) were not compared: {str(error).splitlines()[0]}"]
    found = {
        str(checkpoint and checkpoint.path): (checkpoint.sha256 if checkpoint else None, recorded[0]),
        ", ".join(map(str, pretrained.paths.values())): (pretrained.digest, recorded[1]),
    }
    texts = [
        f"weights: {where or 'none'} has sha256 {str(here)[:12]}..., the run had {str(then)[:12]}..."
        for where, (here, then) in found.items()
        if here != then
    ]
    return (texts, []) if means.weights or means.checkpoint else ([], texts)


def _without(ids: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    return ids["id"].filter(pc.invert(pc.is_in(ids["id"], value_set=others["id"].combine_chunks())))
