"""From a run's record back to its dataset, as this machine allows.

A run may come from somebody else. What its record says is compared, and never imported, opened or followed: code comes
from this command line or an installed package, data from where this machine keeps it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.known_roots import remembered
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.predicted_visible import TRUTH, spelled, with_visible
from amodal_bench.resolve.presets import build
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved


@dataclass(frozen=True, slots=True)
class Opened:
    """A dataset and the folder that it lies in."""

    dataset: AnyDataset
    root: Path


class Recorded:
    """The dataset of the run in the folder `run`. Its faults are for the caller to raise or to tell."""

    def __init__(self, run: Path, record: dict[str, Any], plugins: Sequence[Path] = ()) -> None:
        self._run, self._record, self._spec = run, record, record["spec"]
        self._registry = Registry(plugins)

    def source_fault(self) -> str:
        """What is to be said where the plugin here is not the run's, else nothing.

        Raises `Refused` where the run's dataset is a plugin that was not given.
        """
        name, recorded = self._spec["dataset"], self._spec["dataset_source"]
        if recorded and name not in self._registry.names("datasets"):
            raise Refused(
                f"the run used the plugin {name} (sha256 {recorded[:12]}...): give it with --plugin FILE. "
                "Code that a run's folder names is never imported by itself"
            )
        found = self._registry.dataset(name).source
        if found == recorded:
            return ""
        here, there = (
            f"the plugin of sha256 {digest[:12]}..." if digest else "built in" for digest in (found, recorded)
        )
        return f"the dataset {name} is {here} here, and was {there} for the run: give that with --plugin"

    def open(self, here: DataFlags, visible: str | None = None) -> Opened:
        """Open it: in the folders given here, else where it lay when it was used on this machine.

        `visible` names the file of the run's visible masks where it lies elsewhere now. Raises `Refused`
        (`DatasetNotReady` where files are missing, as they are on a laptop that only holds results) where options or
        visible masks are not those that the run was made with.
        """
        spec = self._spec
        options = self._options()
        given = here.root or here.data_root or here.image_root
        flags = here if given else remembered(spec["dataset"], spec["fingerprint"])
        dataset, location, _ = open_dataset(spec["dataset"], self._registry, spec["split"], options, flags)
        return Opened(with_visible(dataset, self._visible(visible)), location.root)

    def fingerprint_fault(self, opened: Opened) -> str:
        """What is to be said where the files here are not the run's, else nothing."""
        found, expected = opened.dataset.fingerprint(), self._spec["fingerprint"]
        if found == expected:
            return ""
        return (
            f"the files of {self._spec['dataset']}/{self._spec['split']} in {opened.root} are not those of {self._run} "
            f"(fingerprint {found[:8]}, the run has {expected[:8]}): name the right ones with --root or --data-root"
        )

    def _options(self) -> dict[str, Any]:
        """The options that were asked for; raises `DatasetNotReady` where they are not those that the run had.

        Files that they name are digested for this, so that no other file is opened as one of them.
        """
        name, asked = self._spec["dataset"], self._record["request"]["options"]
        settings = build(self._registry.dataset(name).cls.Options, asked, f"dataset {name!r}")
        if resolved(settings) != self._spec["options"]:
            raise DatasetNotReady(
                f"the dataset's options in {self._run} are not those that its run was made with "
                f"({asked} makes {resolved(settings)}, the run had {self._spec['options']})"
            )
        return dict(asked)

    def _visible(self, here: str | None) -> str:
        """What `with_visible` takes. A file that the record names is opened only if its contents are the run's."""
        recorded = self._spec["visible"]
        if recorded == TRUTH:
            return TRUTH
        text = here or self._record["request"]["visible"]
        try:
            found = spelled(text)
        except (Refused, OSError):
            found = ""
        if found == recorded:
            return str(text)
        way_out = f"{text} holds others" if here else f"put their file at {text.removeprefix('predicted:')}"
        raise DatasetNotReady(
            f"the visible masks that the run was given ({recorded[:22]}...) are not here: {way_out} "
            "(`verify` takes them from elsewhere: --visible predicted:FILE)"
        )
