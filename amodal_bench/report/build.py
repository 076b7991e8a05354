"""Put the page together and write it."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from amodal_bench import __name__ as package
from amodal_bench.errors import Refused
from amodal_bench.figures.pictures import ERRORS
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.names import own_folder
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import DRAWS
from amodal_bench.metrics.table import METRICS, PARTS, headline, others
from amodal_bench.report import facts
from amodal_bench.report.gallery import GallerySettings, gallery
from amodal_bench.report.numbers import Cells, cells, protocol_facts, rank, splits, spread
from amodal_bench.report.pairs import chosen_pairs, pair
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.select import by_data, labelled, nothing_left, results_runs
from amodal_bench.tables.audit import findings
from amodal_bench.text.printable import printable

HERE = Path(__file__).parent
SCRIPTS = ("base.js", "overview.js", "charts.js", "gallery.js", "pairs.js", "start.js")
_OURS = re.compile(r"\d+-\d{4,}-\d+\.jpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """What was written: the page, how many runs are in it, a sentence for each that is not."""

    page: Path
    runs: int
    left_out: list[str]
    notes: list[str]


def build(
    results: Path,
    out: Path,
    protocols: Sequence[Protocol],
    settings: GallerySettings,
    draws: int = DRAWS,
    tell: Callable[[str], None] = lambda _: None,
) -> WrittenReport:
    """Write OUT/index.html and OUT/images from all runs below `results`.

    The first protocol is what the page begins with; comparisons and the gallery's scores are made under it. `tell`
    hears what is being done. Raises `Refused` where there is no run to show.
    """
    found = results_runs(results)
    runs, left_out = labelled(found.runs), found.left_out
    if not runs:
        raise nothing_left(f"{results} holds no finished run to report; `amodal-bench bench` makes some", left_out)
    _check_root(runs, settings)
    blocks = by_data(runs)
    images = _fresh(out)
    galleries, pairs = [], []
    numbers = _numbers(blocks, protocols, draws, tell)
    for number, block in enumerate(blocks.values()):
        tell(f"pictures and comparisons of {block[0].block}")
        galleries.append(gallery(block, protocols[0], settings, images, number))
        pairs += [pair(a, b, protocols[0], draws) for a, b in chosen_pairs(block, protocols[0])]
    content = {
        "protocols": [protocol_facts(protocol) for protocol in protocols],
        "data": list(blocks),
        "runs": [_run(run, *numbers[run]) for block in blocks.values() for run in block],
        "pairs": pairs,
        "galleries": galleries,
        "parts": list(PARTS),
        "metrics": [metric.name for metric in headline()],
        "others": _others(numbers.values()),
        "legend": {name: f"rgb{rgb}" for name, rgb in ERRORS.items()},
    }
    page = out / "index.html"
    write_atomic(page, render(content, left_out).encode())
    return WrittenReport(
        page=page, runs=len(runs), left_out=left_out, notes=[g["fault"] for g in galleries if g["fault"]]
    )


def _check_root(runs: Sequence[FinishedRun], settings: GallerySettings) -> None:
    datasets = sorted({run.data.dataset for run in runs})
    if settings.flags.root and len(datasets) > 1:
        raise Refused(f"--root is one dataset's folder, these runs are on {', '.join(datasets)}: use --data-root")


def render(content: dict[str, Any], left_out: Sequence[str]) -> str:
    """The page: style, scripts and data inside, every text escaped and in its printable spelling."""
    content, left_out = _spelled(content), _spelled(list(left_out))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        content=content,
        embedded=embedded(content),
        style=(HERE / "report.css").read_text(),
        script="\n".join((HERE / name).read_text() for name in SCRIPTS),
        left_out=left_out,
        audit=findings(),
        package=package,
    )


def embedded(content: dict[str, Any]) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element or begin another."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _spelled(value: Any) -> Any:
    """The value with all texts in it, keys too, as `printable` spells them; their lines stay."""
    if isinstance(value, str):
        return printable(value, keep="\n")
    if isinstance(value, dict):
        return {_spelled(key): _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, (list, tuple)) else value


def _fresh(out: Path) -> Path:
    """OUT/images without the pictures of an earlier report; other files stay."""
    images = own_folder(out, "images")
    images.mkdir(parents=True, exist_ok=True)
    for path in images.iterdir():
        if _OURS.fullmatch(path.name):
            path.unlink()
    return images


def _numbers(
    blocks: dict[str, list[FinishedRun]], protocols: Sequence[Protocol], draws: int, tell: Callable[[str], None]
) -> dict[FinishedRun, tuple[Cells, dict[str, Any]]]:
    """By run: its cells, ranked among its block, and its error split."""
    found = {}
    for block in blocks.values():
        scored = []
        for run in block:
            tell(f"scores of {run.label} on {run.block}")
            scored.append((run, cells(run, protocols, draws)))
        rank(scored)
        found.update({run: (numbers, splits(run, protocols)) for run, numbers in scored})
    return found


def _others(numbers: Iterable[tuple[Cells, dict[str, Any]]]) -> list[str]:
    """The metrics that are no headline, in the order of the table: of those of measures what some run has."""
    found = {name for cells, _ in numbers for subsets in cells.values() for name in subsets["all"]}
    return [metric.name for metric in METRICS if metric in others() or (metric.name in found and not metric.headline)]


def _run(run: FinishedRun, numbers: Cells, split: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": run.label,
        "data": run.block,
        "key": run.key,
        "seed": run.record["spec"]["seed"],
        "setting": facts.setting(run),
        "state": facts.state(run),
        "ranked": run.ranked,
        "other_data": run.other_data,
        "seconds": facts.seconds(run),
        "facts": facts.provenance(run),
        "cells": numbers,
        "split": split,
        "spread": spread(numbers),
    }
