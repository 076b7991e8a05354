"""What a run's record says, as lines for the page."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from amodal_bench.results.finished import FinishedRun

Line = tuple[str, str]


def setting(run: FinishedRun) -> str:
    """What its weights were trained on: supervised, zero-shot, unknown; models by others, or no training."""
    if run.setting:
        return run.setting
    return "pretrained" if run.record.get("pretrained") else "no training"


def state(run: FinishedRun) -> str:
    """`complete`, or what keeps the run from being ranked."""
    return run.flag or run.state


def seconds(run: FinishedRun) -> str:
    """Mean time of an instance in `predict`, two digits; empty where none was measured."""
    return "" if math.isnan(run.seconds) else f"{float(f'{run.seconds:.2g}'):.10f}".rstrip("0").rstrip(".")


def provenance(run: FinishedRun) -> list[Line]:
    """(term, text) pairs: what was run, on what, by which code, where, how long."""
    return [line for line in _lines(run) if line[1]]


def _lines(run: FinishedRun) -> Iterator[Line]:
    record, spec = run.record, run.record["spec"]
    yield "folder", str(run.folder.path)
    yield "status", state(run)
    yield "method", f"{spec['method']}, revision {spec['revision']}" + _short(", source ", spec["method_source"])
    yield "parameters", _text(spec["params"]) or "none"
    yield "data", f"{spec['dataset']}/{spec['split']}" + _short(", source ", spec["dataset_source"])
    yield "options", _text(spec["options"])
    yield "files", f"fingerprint {spec['fingerprint']}" + (f": {run.other_data}" if run.other_data else "")
    yield "visible masks", "the truth's" if spec.get("visible", "gt") == "gt" else spec["visible"]
    yield "instances", _funnel(record["funnel"])
    yield "seed", str(spec["seed"])
    yield "weights", _weights(record.get("weights"))
    pretrained = record.get("pretrained") or {}
    yield "pretrained", ", ".join(f"{part} sha256 {facts['sha256'][:12]}" for part, facts in pretrained.items())
    yield "command", " ".join(record["argv"])
    git = record.get("git")
    yield "code", f"commit {git['commit']}{' with changes' if git.get('dirty') else ''}" if git else "not a checkout"
    yield "versions", _text(record["versions"])
    yield "hardware", _text(record["hardware"])
    times = record["timings"]
    yield "time", f"{times['seconds']:.1f} s, begun {times['started']}, ended {times['finished']}"


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in values.items() if v is not None)


def _short(before: str, digest: str | None) -> str:
    return f"{before}{digest[:12]}" if digest else ""


def _funnel(funnel: Mapping[str, Any] | None) -> str:
    if not funnel:
        return ""
    dropped = _text(funnel.get("dropped") or {})
    return f"{funnel['read']:,} read, {funnel['kept']:,} kept" + (f"; dropped: {dropped}" if dropped else "")


def _weights(weights: Mapping[str, Any] | None) -> str:
    if not weights:
        return "none needed"
    return f"{weights['setting']}, sha256 {weights['sha256'][:12]}, {_text(weights['metadata'])}"
