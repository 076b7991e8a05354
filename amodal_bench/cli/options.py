"""Options that several commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from amodal_bench.errors import Refused
from amodal_bench.metrics.table import Metric, find_metrics, headline, names

T = TypeVar("T")

Methods = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        metavar="M[,M]",
        help="Methods, presets or YAML files of presets [default: configs/embedded.yaml].",
    ),
]
Datasets = Annotated[str, typer.Option("--dataset", "-d", metavar="D[,D]", help="Datasets.")]
Split = Annotated[str | None, typer.Option(help="Split (default: the dataset's own).")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder with one sub-folder per dataset.")]
Root = Annotated[Path | None, typer.Option(help="This dataset's own folder (one dataset only).")]
ImageRoot = Annotated[Path | None, typer.Option(help="Where its images lie, if elsewhere.")]
Visible = Annotated[
    str, typer.Option(metavar="gt|predicted:FILE", help="Visible masks for the method; the metric keeps the truth.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Parameter of the method; dataset.KEY for the dataset."),
]
Plugins = Annotated[list[Path] | None, typer.Option("--plugin", metavar="FILE", help="Python file with a plugin.")]
Results = Annotated[Path | None, typer.Option(help="Where runs are kept [default: results].")]
Weights = Annotated[Path | None, typer.Option(help="Folder of trained weights.")]
Checkpoint = Annotated[Path | None, typer.Option(help="One file of weights.")]
Metrics = Annotated[
    str | None,
    typer.Option("--metrics", metavar="NAME[,NAME]", help=f"Of {', '.join(names())} [default: the mIoUs]."),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="P[,P]",
        help="Protocols: ids, names or YAML files; P:field=value changes a field [default: instance-mean/1].",
    ),
]
Buckets = Annotated[str | None, typer.Option(help="Occlusion buckets: edges 0,.25,.5,1 or '[0,.5);[.5,1]'.")]


def split_list(text: str, what: str) -> list[str]:
    """Comma-separated names without repeats; raises `Refused` for an empty one."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise Refused(f"--{what} takes names separated by commas, got {text!r}")
    return list(dict.fromkeys(names))


def chosen_metrics(text: str | None) -> tuple[Metric, ...]:
    """The metrics of `--metrics`, by default the headline ones; raises `UnknownName`."""
    return find_metrics(split_list(text, "metrics")) if text is not None else headline()


def split_seeds(text: str) -> list[int]:
    """Comma-separated whole numbers."""
    parts = split_list(text, "seed")
    if not all(part.isdigit() for part in parts):
        raise Refused(f"--seed takes whole numbers from 0 separated by commas, got {text!r}")
    return [int(part) for part in parts]


def absolute(path: Path | None) -> Path | None:
    """A path that still holds when a worker starts in another folder."""
    return path.absolute() if path else None


def absolute_all(**paths: Path | None) -> dict[str, Path | None]:
    """`absolute` of each."""
    return {name: absolute(path) for name, path in paths.items()}


def none_if_empty(items: Iterable[T] | None) -> tuple[T, ...]:
    """A tuple of what an option collected."""
    return tuple(items or ())
