"""The gallery: which instances of a data block are shown, and their pictures as small files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image

from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.figures import pictures
from amodal_bench.figures.grid import scores
from amodal_bench.figures.pick import ordered
from amodal_bench.figures.source import SampleSource, open_first, readable_masks
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import headline
from amodal_bench.report.numbers import printed
from amodal_bench.report.pairs import order
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.results.finished import FinishedRun
from amodal_bench.types import Image, Mask

SIZE = 256
MOST_RUNS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySettings:
    """How many instances are shown a data block, and where datasets lie if not where the runs found them."""

    count: int = 60
    flags: DataFlags = field(default_factory=DataFlags)
    plugins: Sequence[Path] = ()


def gallery(
    block: Sequence[FinishedRun], protocol: Protocol, settings: GallerySettings, images: Path, number: int
) -> dict[str, Any]:
    """Choose instances and write their pictures into `images`; `note` says in a sentence what is shown and why.

    Returns:
        data, runs (labels), protocol, note, fault (why pictures are missing, or empty) and items: id, category,
        rate, scores (label -> printed full and invisible IoU), files (name -> file).
    """
    most = max(len(run.instances) for run in block)
    whole = [run for run in order(block, protocol) if len(run.instances) == most]
    shown = whole[:MOST_RUNS]
    labels = [run.label for run in shown]
    tables = {metric.name: scores(shown, protocol, metric.name) for metric in headline()}
    first = next(iter(tables.values()))
    ids = gallery_ids(first, labels, protocol, settings.count)
    items = list(_items(ids, tables, labels, shown[0]))
    fault = _draw(items, shown, settings, images, number) if items else ""
    return {
        "data": block[0].block,
        "runs": labels,
        "note": _note(len(items), len(first), len(block), len(whole)),
        "fault": fault,
        "protocol": protocol.id,
        "items": items,
    }


def _note(shown: int, total: int, runs: int, whole: int) -> str:
    """What is shown and why."""
    note = f"All {total:,} instances."
    if shown < total:
        note = (
            f"{shown} of {total:,} instances, chosen and not representative: for each method, over all occlusion "
            "rates, its worst and its best, where two methods differ most, and some at random."
        )
    cut = f" The {MOST_RUNS} best of {whole} runs." if whole > MOST_RUNS else ""
    return note + cut + (" Runs that lack instances are not shown here." if whole < runs else "")


def gallery_ids(table: pd.DataFrame, labels: Sequence[str], protocol: Protocol, count: int) -> list[str]:
    """Ids in turn from each run's worst and best, each pair's largest difference, and random ones.

    Half of them from all instances, the others from each bucket of the protocol.
    """
    queues = []
    for label in labels:
        queues += [ordered(kind, table.assign(a=table[label])) for kind in ("worst", "best")]
    for x, y in combinations(labels, 2):
        queues.append(ordered("difference", table.assign(a=table[x], b=table[y])))
    queues.append(ordered("random", table.assign(a=0.0)))
    whole = [queue["id"].head(count).tolist() for queue in queues]
    parts = [
        queue["id"][bucket.contains(queue["rate"].to_numpy())].head(count).tolist()
        for queue in queues
        for bucket in protocol.buckets
    ]
    first = _in_turn(whole, -(-count // 2))
    return list(dict.fromkeys([*first, *_in_turn(parts, count)]))[:count]


def _in_turn(queues: Sequence[Sequence[str]], count: int) -> list[str]:
    turns = (id for row in zip_longest(*queues) for id in row if id is not None)
    return list(dict.fromkeys(turns))[:count]


def _items(
    ids: Sequence[str], tables: dict[str, pd.DataFrame], labels: Sequence[str], first: FinishedRun
) -> Iterator[dict[str, Any]]:
    rows = {name: table.set_index("id").loc[list(ids)].to_dict("index") for name, table in tables.items()}
    categories = first.instances.set_index("id")["category"].loc[list(ids)]
    for id in ids:
        yield {
            "id": id,
            "category": "" if pd.isna(categories[id]) else str(categories[id]),
            "rate": printed(float(next(iter(rows.values()))[id]["rate"])),
            "scores": {
                label: [printed(float(of_metric[id][label])) for of_metric in rows.values()] for label in labels
            },
            "files": {},
        }


def _draw(
    items: Sequence[dict[str, Any]], runs: Sequence[FinishedRun], settings: GallerySettings, images: Path, number: int
) -> str:
    """Write the pictures of all items; a sentence where they cannot be made, or not those of all runs."""
    try:
        source = open_first(runs, settings.flags, settings.plugins)
        masks, left_out = readable_masks(runs, [item["id"] for item in items])
    except Refused as error:
        return f"No pictures: {error}"
    faults: list[str] = []
    for index, item in enumerate(items):
        try:
            drawn = _panels(source, item["id"], masks)
        except DatasetNotReady as error:
            faults.append(str(error))
            continue
        for name, image in drawn.items():
            file = f"{number}-{index:04d}-{len(item['files'])}.jpg"
            PIL.Image.fromarray(image).save(images / file, quality=84, optimize=True)
            item["files"][name] = f"images/{file}"
    if faults:
        left_out.append(f"{len(faults)} of {len(items)} pictures are missing, the first: {faults[0]}")
    return " ".join(left_out)


def _panels(source: SampleSource, id: str, masks: dict[str, dict[str, Mask]]) -> dict[str, Image]:
    """Pictures of an instance by the name the page shows; `errors LABEL` for a run."""
    predictions = {label: of_run[id] for label, of_run in masks.items()}
    drawn = pictures.panels(source.sample(id), predictions, SIZE, masks_too=False)
    errors = {f"errors {label}": image for label, image in drawn.errors.items()}
    return {"image": drawn.image, "visible": drawn.visible, "truth": drawn.truth, **errors}
