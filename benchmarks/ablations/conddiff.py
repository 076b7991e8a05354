"""Table 4 at nano scale: train conddiff-nano without each of its parts, with one small budget, and compare.

    python benchmarks/ablations/conddiff.py [FOLDER]

Three trainings a row, by seed, on the embedded scenes alone, as conddiff-nano-synthetic is trained. Sampling takes five
steps by the sampler that matches training: renoising under UST, else Eq. 3. Everything goes into FOLDER (default:
ablation/), and the table into FOLDER/table.md. A second call goes on where the first was cut off.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from amodal_bench.metrics import scores as scoring
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.resolve import training as resolve_training
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.running import run, train
from amodal_bench.text import streams

log = logging.getLogger(__name__)

PRESET, DATASET, SEEDS = "conddiff-nano-synthetic", "synthetic", (42, 43, 44)
BUDGET: dict[str, Any] = {"epochs": 4, "epoch_size": 1600, "batch_size": 16, "val_limit": 64, "ema": 0.98}
BASE: dict[str, Any] = {"diffusion": {"steps": 5, "sampler": "ust_renoise"}}
SCENES = 6400
METRICS = ("mIoU_full", "mIoU_inv")
Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `paper` is full / invisible on COCOA (Table 4), `weights` whose training it uses."""

    name: str
    what: str
    changes: dict[str, Any] = field(default_factory=dict)
    paper: tuple[float, float] | None = None
    weights: str | None = None


ROWS = (
    Row("none", "nothing", {}, (90.8, 73.3)),
    Row("B", "visible mask as input", {"model": {"use_vm": False}}, (85.6, 57.9)),
    Row("C", "OCR", {"model": {"ocr": False}}, (90.2, 72.2)),
    Row("D", "AFG", {"model": {"fusion": "linear"}}, (86.9, 58.6)),
    Row(
        "I",
        "UST: noise on the amodal mask",
        {"diffusion": {"forward": "gaussian_gt", "sampler": "posterior"}},
        (81.7, 39.9),
    ),
    Row(
        "gaussian_visible",
        "UST: noise on the visible mask",
        {"diffusion": {"forward": "gaussian_visible", "sampler": "posterior"}},
    ),
    Row("J", "VGPE", {"vgpe": {"constrain": False, "ensemble": False}}, (90.6, 73.1), "none"),
)


class _Lines:
    def step(self, done: int, total: int, text: str) -> None:
        """Nothing: rows are short."""

    def note(self, text: str) -> None:
        """A line of the log."""
        log.info("  %s", text)


def trained(row: Row, seed: int, folder: Path) -> Path:
    """The tree of weights of a row, trained where that has not been done."""
    weights = folder / "weights" / f"{row.weights or row.name}-{seed}"
    if row.weights is None:
        request = resolve_training.TrainRequest(
            method=PRESET,
            dataset=DATASET,
            seed=seed,
            params=merged(BASE, row.changes),
            training=BUDGET,
            options={"size": SCENES, "resolution": 128},
            weights=weights,
        )
        train.train(resolve_training.prepare(request), _Lines())
    return weights


def measured(row: Row, seed: int, folder: Path) -> Scores:
    """Both scores of a row's training on the test split."""
    request = Request(
        method=PRESET,
        dataset=DATASET,
        params=merged(BASE, row.changes),
        weights=trained(row, seed, folder),
        results=folder / "results" / f"{row.name}-{seed}",
    )
    job = prepare(request)
    run.bench(job)
    table = scoring.metrics(job.folder.instances(), find_protocol(DEFAULT))
    table = table[table["subset"] == "all"]
    return dict(zip(table["metric"], table["value"].astype(float), strict=True))


def line(row: Row, scores: Sequence[Scores], whole: Sequence[Scores]) -> str:
    """One line of the table; changes are against the whole method trained with the same seed."""
    paper = f"{row.paper[0]} | {row.paper[1]}" if row.paper else "- | -"
    cells = [_spread([one[name] for one in scores]) for name in METRICS]
    if row.name != ROWS[0].name:
        changes = [one[METRICS[1]] - other[METRICS[1]] for one, other in zip(scores, whole, strict=True)]
        cells.append(f"{_spread(changes)}, {'every' if len({c > 0 for c in changes}) == 1 else 'not every'} seed")
    return f"| {row.name} | {row.what} | {paper} | {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f} ± {stdev(values):.1f}"


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with changes, part by part."""
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in {**first, **second}}


def main(arguments: Sequence[str]) -> None:
    """Train and measure every row, and write the table."""
    folder = Path(arguments[0] if arguments else "ablation").absolute()
    lines = [
        "| row | removed | paper full | paper inv | mIoU_full | mIoU_inv | change of mIoU_inv |",
        "|---|---|---|---|---|---|---|",
    ]
    whole: list[Scores] = []
    for row in ROWS:
        log.info("row %s: without %s", row.name, row.what)
        scores = [measured(row, seed, folder) for seed in SEEDS]
        whole = whole or scores
        lines.append(line(row, scores, whole))
        log.info(lines[-1])
    (folder / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    streams.guard()
    main(sys.argv[1:])
