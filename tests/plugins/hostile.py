"""A dataset and a method whose every text attacks whoever shows it: markup, escapes, line ends, formulas."""

import logging
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from amodal_bench.errors import TrainingStopped
from amodal_bench.plugin import (
    Dataset,
    DatasetCard,
    Fault,
    Location,
    Method,
    MethodCard,
    Settings,
    TrainingRun,
)
from amodal_bench.types import AmodalQuery, AmodalSample, Mask

# Rich's markup and emoji codes, a window title, a colour, an 8-bit clear, DEL, a carriage return, bidi controls,
# a line that poses as another, a table's bar, TeX and matplotlib's formulas.
TEXT = "[/b]:smile:\x1b]0;owned\x07\x1b[41m\x9b2J\x7f\r\u202elie\u2066\n✓ all is well | $\\frac{ <b>"
FORMULAS = ("=1+1[/b]", "+1|" + TEXT, "-2+3", "@SUM(A1)", "\t=1", "\r=1")


class Hostile(Dataset[Settings]):
    """Six 8x8 images with a square, half hidden in every second."""

    card = DatasetCard(
        title="Set " + TEXT,
        tree="one/\n  two " + TEXT,
        splits={"test": {"instances": 7}, "train": {}},
        default_split="test",
        releases={"0" * 64: TEXT},
    )

    def __init__(self, location: Location, split: str, options: Settings) -> None:
        super().__init__(location, split, options)
        self.funnel.read = 7
        self.funnel.drop("dropped " + TEXT)
        self.funnel.note("noted " + TEXT)
        logging.getLogger(__name__).info("log %s", TEXT)
        warnings.warn("warning " + TEXT, stacklevel=1)

    def ids(self) -> Sequence[str]:
        """Formulas and markup in the image's part."""
        return [f"hostile/{self.split}/=1+{k}[red]:smile:/=2" for k in range(6)]

    def fingerprint(self) -> str:
        """Of nothing: there are no files."""
        return "1" * 64

    def faults(self) -> Iterator[Fault]:
        """One a formula."""
        for formula in FORMULAS:
            yield Fault(formula, "kind " + TEXT, "detail " + TEXT)

    def __getitem__(self, index: int) -> AmodalSample:
        id = self.ids()[index]
        amodal = np.zeros((8, 8), dtype=np.bool_)
        amodal[2:6, 2:6] = True
        visible = amodal.copy()
        visible[:, 4:] &= index % 2 == 0
        query = AmodalQuery(id, id.split("/")[2], np.zeros((8, 8, 3), dtype=np.uint8), visible, FORMULAS[index])
        return AmodalSample(query, amodal, is_stuff=False)


class Training(Settings):
    """Nothing to set."""


class Attacker(Method[Settings]):
    """The visible mask, but for one instance."""

    card = MethodCard(title="Method " + TEXT, weights="weights " + TEXT)
    Training = Training

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Raises on the last of the six."""
        if "+5[" in queries[0].id:
            raise RuntimeError("error " + TEXT)
        return [query.visible.copy() for query in queries]

    def train(self, train: object, val: object, run: TrainingRun) -> None:
        """Talks and stops."""
        run.monitor.step(1, 2, "step " + TEXT)
        run.monitor.note("note " + TEXT)
        raise TrainingStopped("stopped " + TEXT)
