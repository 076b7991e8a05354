"""The one list of metrics: scores, intervals, comparisons, tables, figures and the report read it and nothing else.

After a protocol has pasted and clipped, a pixel is (predicted, amodal, visible), and that is all that the counts keep.
So a metric of overlap is a ratio of two weighted sums over these eight kinds of pixels: one entry of `METRICS`.
A metric that needs more than the counts is a ratio of two columns of a measure (`metrics.pixels`): one entry too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.masks.counts import AMODAL, PREDICTED, VISIBLE
from amodal_bench.metrics.protocol import Protocol

Weights = tuple[int, ...]  # (8,), by the bits of `masks.counts`: how often a pixel of that kind is counted
Kinds = NDArray[np.bool_]  # (8,), by the same bits: which kinds of pixels an area has
Names = Iterable["str | Metric"]
P, A, V = (np.arange(8) & bit != 0 for bit in (PREDICTED, AMODAL, VISIBLE))


def weights(*areas: Kinds) -> Weights:
    """Weights (8,) of the sizes of areas, added up; an area is a set of kinds of pixels: `weights(P & A)`, `(P, A)`."""
    return tuple(int(sum(int(area[kind]) for area in areas)) for kind in range(8))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what is divided by what, and which instances of a protocol it is taken over.

    `name` stands in tables, `column` in frames with a row an instance; `text` says it in words. `counts` is the rule of
    the protocol that says who counts: `full` or `invisible`. The `headline` metrics are shown where none is asked for.
    `measure` names the measure whose columns `numerator` and `denominator` are; empty for a metric of the counts.
    """

    name: str
    column: str
    text: str
    numerator: Weights | str
    denominator: Weights | str
    counts: Literal["full", "invisible"] = "full"
    higher_is_better: bool = True
    headline: bool = False
    measure: str = ""

    def within(self, protocol: Protocol) -> bool:
        """Whether the protocol has it. What was measured is of masks as predicted, with V clipped to A."""
        if self.measure and protocol.paste:
            return False
        if self.counts == "full":
            return protocol.full
        return protocol.invisible != "none" and (protocol.clip_visible or not self.measure)

    @property
    def sign(self) -> int:
        """What makes of its values some of which higher ones are better."""
        return 1 if self.higher_is_better else -1

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "↑" if self.higher_is_better else "↓"


_BOTH = weights(P & A)
_EITHER = weights(P | A)
_HIDDEN_BOTH = weights(P & A & ~V)

FULL = Metric("mIoU_full", "iou_full", "IoU of the whole object: |P & A| / |P | A|", _BOTH, _EITHER, headline=True)
INVISIBLE = Metric(
    "mIoU_inv", "iou_inv", "IoU of the hidden part: |P & A - V| / |(P | A) - V|",
    _HIDDEN_BOTH, weights((P | A) & ~V), "invisible", headline=True,
)  # fmt: skip
METRICS: tuple[Metric, ...] = (
    FULL,
    INVISIBLE,
    Metric(
        "hidden_recall", "hidden_recall", "found of the hidden part: |P & A - V| / |A - V|",
        _HIDDEN_BOTH, weights(A & ~V), "invisible",
    ),
    Metric(
        "hidden_precision", "hidden_precision", "hidden part of what is predicted beyond V: |P & A - V| / |P - V|",
        _HIDDEN_BOTH, weights(P & ~V), "invisible",
    ),
    Metric(
        "Dice_full", "dice_full", "Dice of the whole object: 2 |P & A| / (|P| + |A|)",
        weights(P & A, P & A), weights(P, A),
    ),
    Metric("found", "found", "|P & A| of |P | A|, the full IoU", _BOTH, _EITHER),
    Metric(
        "visible_missed", "visible_missed", "|A & V - P| of |P | A|",
        weights(A & V & ~P), _EITHER, higher_is_better=False,
    ),
    Metric(
        "hidden_missed", "hidden_missed", "|A - V - P| of |P | A|",
        weights(A & ~V & ~P), _EITHER, higher_is_better=False,
    ),
    Metric(
        "spill", "spill", "|P - A| of |P | A|", weights(P & ~A), _EITHER, higher_is_better=False,
    ),
    Metric(
        "boundary_IoU_full", "boundary_full", "IoU of the bands along the contours of P and A (`measure`)",
        "boundary_full_numerator", "boundary_full_denominator", measure="boundary",
    ),
    Metric(
        "boundary_IoU_inv", "boundary_inv", "the same outside V (`measure`)",
        "boundary_hidden_numerator", "boundary_hidden_denominator", "invisible", measure="boundary",
    ),
    Metric(
        "eroded_IoU_inv", "eroded_inv", "IoU of P - V and A - V, eroded by 5 x 5 pixels (`measure`)",
        "eroded_hidden_numerator", "eroded_hidden_denominator", "invisible", measure="eroded",
    ),
    Metric(
        "hull_ceiling", "hull_ceiling", "the best mIoU_full of any prediction in the hull of V (`measure`)",
        "ceilings_hull_numerator", "ceilings_hull_denominator", measure="ceilings",
    ),
    Metric(
        "hull_ceiling_inv", "hull_ceiling_inv", "the best mIoU_inv there (`measure`)",
        "ceilings_hull_hidden_numerator", "ceilings_hull_hidden_denominator", "invisible", measure="ceilings",
    ),
    Metric(
        "crop_ceiling", "crop_ceiling", "the best mIoU_full of any prediction in twice the box of V (`measure`)",
        "ceilings_crop_numerator", "ceilings_crop_denominator", measure="ceilings",
    ),
    Metric(
        "crop_ceiling_inv", "crop_ceiling_inv", "the best mIoU_inv there (`measure`)",
        "ceilings_crop_hidden_numerator", "ceilings_crop_hidden_denominator", "invisible", measure="ceilings",
    ),
)  # fmt: skip
PARTS = ("found", "visible_missed", "hidden_missed", "spill")  # of the union of prediction and truth: they add to 1
ALIASES = {"mIoU": "mIoU_full", "mIoU_occ": "mIoU_inv", "inv_mIoU": "mIoU_inv"}  # what papers call them


def names() -> list[str]:
    """The names of all metrics, in the order of the table."""
    return [metric.name for metric in METRICS]


def headline() -> tuple[Metric, ...]:
    """The metrics that are shown where none is asked for."""
    return tuple(metric for metric in METRICS if metric.headline)


def others() -> tuple[Metric, ...]:
    """All metrics of the counts but the headline ones."""
    return tuple(metric for metric in METRICS if not metric.headline and not metric.measure)


def find_metric(name: "str | Metric") -> Metric:
    """The metric of a name, of ours or of another paper; raises `UnknownName`."""
    if isinstance(name, Metric):
        return name
    known = {metric.name: metric for metric in METRICS}
    found = known.get(ALIASES.get(name, name))
    if found is None:
        raise UnknownName("metric", name, [*known, *ALIASES])
    return found


def find_metrics(asked: Names | None) -> tuple[Metric, ...]:
    """The metrics of these names, each once; the headline ones for None. Raises `UnknownName`."""
    return headline() if asked is None else tuple(dict.fromkeys(find_metric(name) for name in asked))


def together(name: "str | Metric") -> tuple[Metric, ...]:
    """The metrics that are scored in one pass with this one: the headline ones, the others, or those of its measure."""
    metric = find_metric(name)
    if metric.measure:
        return tuple(other for other in METRICS if other.measure == metric.measure)
    return headline() if metric.headline else others()


def held(metrics: Sequence[Metric], protocol: Protocol) -> list[Metric]:
    """Those of `metrics` that the protocol has; raises `Refused` where it has none of them."""
    found = [metric for metric in metrics if metric.within(protocol)]
    if not found:
        has = ", ".join(metric.name for metric in METRICS if metric.within(protocol))
        raise Refused(
            f"protocol {protocol.id} has no {' and no '.join(metric.name for metric in metrics)}: "
            f"take another --protocol, or a metric that it has: {has}"
        )
    return found
