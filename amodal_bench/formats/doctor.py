"""What `doctor` finds out about an opened dataset."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amodal_bench.errors import BadRecord
from amodal_bench.files.cache import write_atomic
from amodal_bench.formats.release import counted, release_of, unlike_published
from amodal_bench.plugin import AnyDataset, Fault
from amodal_bench.text.csv_text import csv_text

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    state: State
    text: str


def inspect_dataset(dataset: AnyDataset) -> list[Finding]:
    """Counts against the card, the funnel, remarks, the fingerprint, and whether the first instance can be decoded."""
    remarks = [Finding("ok", text) for text in dataset.remarks()]
    other = [Finding("note", text)] if (text := unlike_published(dataset)) else []
    return [*_counts(dataset), *other, *_funnel(dataset), *remarks, _fingerprint(dataset), _first(dataset)]


def summary_of(faults: Sequence[Fault]) -> list[Finding]:
    """One line a kind, with the first example."""
    first = {fault.kind: fault for fault in reversed(faults)}
    times = Counter(fault.kind for fault in faults)
    return [
        Finding("note", f"{n:,} x {kind}, e.g. {first[kind].id}: {first[kind].detail}") for kind, n in times.items()
    ]


def write_faults(faults: Sequence[Fault], path: Path) -> None:
    """All of them as CSV: id, kind, detail."""
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.absolute(), csv_text(Fault._fields, faults).encode())


def _counts(dataset: AnyDataset) -> list[Finding]:
    published = dataset.card.splits[dataset.split]
    findings = []
    for name, found in counted(dataset).items():
        expected = published.get(name)
        if expected is None:
            findings.append(Finding("ok", f"{name}: {found:,}"))
        elif expected == found:
            findings.append(Finding("ok", f"{name}: {found:,}, as published"))
        else:
            findings.append(Finding("note", f"{name}: {found:,}, published {expected:,}"))
    return findings


def _funnel(dataset: AnyDataset) -> list[Finding]:
    funnel = dataset.funnel
    dropped = [Finding("note", f"dropped {n:,}: {reason}") for reason, n in sorted(funnel.dropped.items()) if n]
    noted = [Finding("note", f"kept {n:,}: {what}") for what, n in sorted(funnel.noted.items()) if n]
    return [Finding("ok", f"funnel: {funnel.read:,} read, {funnel.kept:,} kept"), *dropped, *noted]


def _fingerprint(dataset: AnyDataset) -> Finding:
    fingerprint = dataset.fingerprint()
    if release := release_of(dataset):
        return Finding("ok", f"fingerprint {fingerprint}: {release}")
    known = " (none of the known releases)" if dataset.card.releases else ""
    return Finding("note" if known else "ok", f"fingerprint {fingerprint}{known}")


def _first(dataset: AnyDataset) -> Finding:
    if not len(dataset):
        return Finding("fault", "no instance is left")
    try:
        sample = dataset[0]
    except BadRecord as error:
        return Finding("fault", f"the first instance cannot be read: {error}")
    height, width = sample.amodal.shape
    return Finding(
        "ok",
        f"first instance {sample.query.id}: {width} x {height}, rate {sample.occlusion_rate:.3f}; "
        f"visible {sample.visible.mean():.1%} of the frame, amodal {sample.amodal.mean():.1%}",
    )
