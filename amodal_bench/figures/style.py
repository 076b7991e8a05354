"""How all figures look: colours that colour-blind readers tell apart, and files that are the same every time."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from amodal_bench.errors import Refused
from amodal_bench.files.cache import writing
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import headline
from amodal_bench.text.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008, "Color universal design"; each line has its own marker too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FORMATS = ("png", "pdf")


def metric_names(protocol: Protocol) -> list[str]:
    """The headline metrics that a protocol has."""
    return [metric.name for metric in headline() if metric.within(protocol)]


def colour(index: int) -> str:
    """Colour of the method at `index`."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Marker of the method at `index`."""
    return MARKERS[index % len(MARKERS)]


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, sizes in inches; no window, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def words(text: str) -> str:
    """A name as matplotlib writes it out: `$` begins no formula, control characters are spelled out."""
    return printable(text).replace("$", r"\$")


def tidy(axes: "Axes") -> None:
    """No frame above and to the right, a pale grid below the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def targets(out: Path) -> list[Path]:
    """The files to write: the one named, or `.png` and `.pdf` where `out` has no suffix; raises `Refused`."""
    suffix = out.suffix.removeprefix(".")
    if not suffix:
        return [out.with_suffix(f".{kind}") for kind in FORMATS]
    if suffix not in FORMATS:
        raise Refused(f"--out {out}: a figure is .png or .pdf (without a suffix: both), got .{suffix}")
    return [out]


def save(figure: "Figure", out: Path, dpi: int = 300) -> list[Path]:
    """Write a figure; the same data give the same bytes (no date, no version inside)."""
    import matplotlib as mpl

    for talker in ("fontTools", "matplotlib"):  # they tell of every glyph
        logging.getLogger(talker).setLevel(logging.WARNING)
    paths = targets(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"pdf.fonttype": 42, "savefig.dpi": dpi, "svg.hashsalt": "amodal_bench"}):
        for path in paths:
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            with writing(path) as part:
                figure.savefig(part, metadata=metadata, format=path.suffix.removeprefix("."))
    return paths
