"""From a run's record back to its dataset, as this machine allows.

A run may come from somebody else. What its record says is compared, and never imported or followed: code comes from
this command line or an installed entry point, data from where this machine keeps it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.job import open_dataset
from amodal_bench.locate import DataFlags
from amodal_bench.plugin import AnyDataset
from amodal_bench.presets import build
from amodal_bench.registry import Registry
from amodal_bench.spec import resolved
from amodal_bench.visible_source import TRUTH, spelled, with_visible


@dataclass(frozen=True, slots=True)
class Opened:
    """The dataset of a run, where it lies, and the digest of its plugin's source, None for a built-in one.

    Whether plugin and files are those of the run is for the caller to compare.
    """

    dataset: AnyDataset
    root: Path
    source: str | None


def open_recorded(
    run: Path, record: dict[str, Any], here: DataFlags, plugins: Sequence[Path] = (), visible: str | None = None
) -> Opened:
    """Open the dataset of a run; `visible` names the file of its visible masks, where it lies elsewhere now.

    Raises `Refused` where it takes a plugin that was not given, and `DatasetNotReady` where files are missing, as they
    are on a laptop that only holds results, or options or visible masks are not those of the run.
    """
    spec, registry = record["spec"], Registry(plugins)
    name = spec["dataset"]
    _check_given(spec, registry)
    options = _options(run, record, registry)
    dataset, location, source = open_dataset(name, registry, spec["split"], options, here)
    return Opened(with_visible(dataset, _visible(record, visible)), location.root, source)


def _check_given(spec: dict[str, Any], registry: Registry) -> None:
    """Raise `Refused` where the run's dataset is a plugin that is not here."""
    wanted = spec["dataset_source"]
    if wanted and spec["dataset"] not in registry.names("datasets"):
        raise Refused(
            f"the run used the plugin {spec['dataset']} (sha256 {wanted[:12]}...): give it with --plugin FILE. "
            "Code that a run's folder names is never imported by itself"
        )


def _options(run: Path, record: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """The dataset's options as they were asked for; raises `DatasetNotReady` where they are not those of the spec.

    Files that they name are digested for this, so that no other file is opened as one of them.
    """
    spec, asked = record["spec"], record["request"]["options"]
    settings = build(registry.dataset(spec["dataset"]).cls.Options, asked, f"dataset {spec['dataset']!r}")
    if resolved(settings) != spec["options"]:
        raise DatasetNotReady(
            f"the dataset's options in {run} are not those that its run was made with "
            f"({asked} makes {resolved(settings)}, the run had {spec['options']})"
        )
    return dict(asked)


def _visible(record: dict[str, Any], here: str | None) -> str:
    """What `with_visible` takes: a file is read only if its contents are those that the run was given."""
    wanted = record["spec"]["visible"]
    if wanted == TRUTH:
        return TRUTH
    text = here or record["request"]["visible"]
    try:
        found = spelled(text)
    except Refused as error:
        raise DatasetNotReady(
            f"the run was given visible masks ({wanted[:22]}...) that are not here: {error}. "
            "Name their file with --visible predicted:FILE"
        ) from None
    if found != wanted:
        raise DatasetNotReady(
            f"{text} are not the visible masks that the run was given (here {found[:22]}..., the run had "
            f"{wanted[:22]}...): name their file with --visible predicted:FILE"
        )
    return text
