"""Table 4 at nano scale: train conddiff-nano without each of its parts, with one small budget, and compare.

    python benchmarks/ablations/conddiff.py [FOLDER]

Everything goes into FOLDER (default: ablation/), and the table into FOLDER/table.md. A second call goes on where
the first was cut off.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amodal_bench.metrics import scores as scoring
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.resolve import training as resolve_training
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.running import run, train
from amodal_bench.text import streams

log = logging.getLogger(__name__)

PRESET, DATASET, SEED = "conddiff-nano", "synthetic", 42
BUDGET: dict[str, Any] = {"epochs": 4, "epoch_size": 1600, "batch_size": 16, "val_limit": 64, "ema": 0.98}
SCENES = 6400


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
    Row("I", "UST: noise on the amodal mask", {"diffusion": {"forward": "gaussian_gt"}}, (81.7, 39.9)),
    Row("gaussian_visible", "UST: noise on the visible mask", {"diffusion": {"forward": "gaussian_visible"}}),
    Row("J", "VGPE", {"vgpe": {"constrain": False, "ensemble": False}}, (90.6, 73.1), "none"),
)


class _Lines:
    def step(self, done: int, total: int, text: str) -> None:
        """Nothing: rows are short."""

    def note(self, text: str) -> None:
        """A line of the log."""
        log.info("  %s", text)


def trained(row: Row, folder: Path) -> Path:
    """The tree of weights of a row, trained where that has not been done."""
    weights = folder / "weights" / (row.weights or row.name)
    if row.weights is None:
        request = resolve_training.TrainRequest(
            method=PRESET,
            dataset=DATASET,
            seed=SEED,
            params=row.changes,
            training=BUDGET,
            options={"size": SCENES},
            weights=weights,
        )
        train.train(resolve_training.prepare(request), _Lines())
    return weights


def measured(row: Row, folder: Path) -> dict[str, tuple[float, float, float]]:
    """Value and interval of both scores of a row on the test split."""
    request = Request(
        method=PRESET,
        dataset=DATASET,
        params=row.changes,
        weights=trained(row, folder),
        results=folder / "results" / row.name,
    )
    job = prepare(request)
    run.bench(job)
    table = scoring.metrics(job.folder.instances(), find_protocol(DEFAULT))
    table = table[table["subset"] == "all"]
    columns = (table[name].tolist() for name in ("metric", "value", "low", "high"))
    return {metric: (value, low, high) for metric, value, low, high in zip(*columns, strict=True)}


def line(row: Row, scores: dict[str, tuple[float, float, float]]) -> str:
    """One line of the table."""
    paper = f"{row.paper[0]} | {row.paper[1]}" if row.paper else "- | -"
    values = " | ".join(f"{v:.1f} [{low:.1f}, {high:.1f}]" for v, low, high in scores.values())
    return f"| {row.name} | {row.what} | {paper} | {values} | {'as none' if row.weights else 1} |"


def main(arguments: Sequence[str]) -> None:
    """Train and measure every row, and write the table."""
    folder = Path(arguments[0] if arguments else "ablation").absolute()
    lines = [
        "| row | removed | paper full | paper inv | mIoU_full | mIoU_inv | trainings |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        log.info("row %s: without %s", row.name, row.what)
        lines.append(line(row, measured(row, folder)))
        log.info(lines[-1])
    (folder / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    streams.guard()
    main(sys.argv[1:])
