"""From what a user asked for to a job: names, files and weights found, or refused before anything is written."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.files.names import plain_name
from amodal_bench.plugin import AnyDataset, Location, Runtime, Settings
from amodal_bench.resolve import provenance
from amodal_bench.resolve.locate import (
    Checkpoint,
    DataFlags,
    Pretrained,
    dataset_location,
    find_checkpoint,
    find_pretrained,
    weights_root,
)
from amodal_bench.resolve.predicted_visible import TRUTH, spelled, with_visible
from amodal_bench.resolve.presets import Preset, PresetFile, build, find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.store import folder as store
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.spec import RunSpec, resolved


class Request(Settings):
    """What a user asked for, as run.json keeps it so that a worker on another machine can go on."""

    method: str
    preset: PresetFile | None = None  # what a preset says that is not built in
    dataset: str
    split: str | None = None
    seed: int = 0
    params: dict[str, Any] = {}
    options: dict[str, Any] = {}
    visible: str = TRUTH
    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None
    weights: Path | None = None
    checkpoint: Path | None = None
    plugins: tuple[Path, ...] = ()
    device: str = "auto"
    batch_size: int | None = None
    workers: int = 1
    limit: int | None = None
    max_errors: int = 100
    instance_timeout: float | None = None
    results: Path = Path("results")


@dataclass(frozen=True, slots=True)
class Job:
    """A request whose names, parameters, files and weights have been found and digested."""

    request: Request
    preset: Preset
    dataset: AnyDataset
    location: Location
    checkpoint: Checkpoint | None
    pretrained: Pretrained
    spec: RunSpec
    folder: RunFolder
    device: str

    @property
    def batch_size(self) -> int:
        """How many queries a call of predict gets."""
        return self.request.batch_size or self.preset.plugin.cls.card.batch_size

    @property
    def runtime(self) -> Runtime:
        """What the method's `load` is told."""
        return Runtime(
            device=self.device,
            batch_size=self.batch_size,
            checkpoint=self.checkpoint.path if self.checkpoint else None,
            weights=weights_root(self.request.weights),
        )


def open_dataset(
    name: str, registry: Registry, split: str | None, options: dict[str, Any], flags: DataFlags
) -> tuple[AnyDataset, Location, str | None]:
    """Open a split (the card's default if None): the dataset, where it lies, the digest of a plugin's source."""
    plugin = registry.dataset(name)
    location = dataset_location(name, flags)
    settings = build(plugin.cls.Options, options, f"dataset {name!r} (--set dataset.KEY=VALUE)")
    dataset = plugin.cls(location, split or plugin.cls.card.default_split, settings)
    plain_name(dataset.split, f"split of {name}")
    check_first_id(name, dataset)
    return dataset, location, plugin.source


def check_first_id(name: str, dataset: AnyDataset) -> None:
    """Raise `Refused` where the ids are not this dataset's, as those of a copied adapter that kept a name are not."""
    first = next(iter(dataset.ids()), None)
    prefix = f"{name}/{dataset.split}/"
    if isinstance(first, str) and not first.startswith(prefix):
        raise Refused(
            f"the dataset {name!r} gives ids of another: the first is {first!r}, expected {prefix}IMAGE/ANN; "
            "make them with self.id_of(image, annotation)"
        )


def prepare(request: Request) -> Job:
    """Resolve a request; raises `Refused` before anything is written."""
    for name, value in (
        ("limit", request.limit),
        ("workers", request.workers),
        ("batch_size", request.batch_size),
    ):
        if value is not None and value < 1:
            raise Refused(f"--{name.replace('_', '-')} takes a whole number from 1, got {value}")
    if request.instance_timeout is not None and not request.instance_timeout > 0:
        raise Refused(f"--instance-timeout takes seconds above 0, got {request.instance_timeout}")
    registry = Registry(request.plugins)
    preset = find_preset(request.method, registry, request.params, request.preset)
    request = request.model_copy(update={"method": preset.name, "preset": preset.outside_file})
    card = preset.plugin.cls.card
    registry.dataset(request.dataset)
    weights = weights_root(request.weights)
    checkpoint = find_checkpoint(preset, request.dataset, request.checkpoint, weights)
    if checkpoint:
        check_weights(preset, checkpoint)
    pretrained = find_pretrained(preset, weights)
    check_installed(preset)
    device = provenance.choose_device(request.device, card.needs)
    flags = DataFlags(data_root=request.data_root, root=request.root, image_root=request.image_root)
    dataset, location, source = open_dataset(request.dataset, registry, request.split, request.options, flags)
    dataset = with_visible(dataset, request.visible)
    if not len(dataset):
        raise Refused(f"{dataset.card.title} {dataset.split} has no instance left: {dataset.funnel.as_dict()}")
    spec = RunSpec(
        method=preset.plugin.name,
        revision=card.revision,
        params=preset.resolved(),
        checkpoint=checkpoint.sha256 if checkpoint else None,
        pretrained=pretrained.digest,
        method_source=preset.plugin.source,
        dataset=request.dataset,
        split=dataset.split,
        options=resolved(dataset.options),
        fingerprint=dataset.fingerprint(),
        dataset_source=source,
        visible=spelled(request.visible),
        seed=request.seed,
    )
    folder = store.run_folder(request.results, spec, preset.name)
    if not _is_complete(folder):
        store.check_writable(request.results)
    return Job(request, preset, dataset, location, checkpoint, pretrained, spec, folder, device)


def _is_complete(folder: RunFolder) -> bool:
    """Whether the run only has to be shown; a damaged one is begun again or refused later."""
    try:
        return folder.complete
    except RunDamaged:
        return False


def check_installed(preset: Preset) -> None:
    """Raise `Refused` naming the libraries that the method's card asks for and that are not installed."""
    card = preset.plugin.cls.card
    missing = [name for name in card.needs if find_spec(name) is None]
    if missing:
        way_out = f"pip install 'amodal-bench[{card.extra}]'" if card.extra else "install them"
        raise Refused(f"{preset.name} needs what is not installed here, {', '.join(missing)}: {way_out}")


def check_weights(preset: Preset, checkpoint: Checkpoint) -> None:
    """Raise `Refused` naming the file where its metadata does not fit the preset."""
    trained = checkpoint.metadata.get("method", preset.plugin.name)
    if trained != preset.plugin.name:
        raise Refused(f"{checkpoint.path}: weights of the method {trained!r}, asked for {preset.plugin.name!r}")
    try:
        preset.make().check_weights(checkpoint.metadata)
    except Refused as error:
        raise Refused(f"{checkpoint.path}: {error}") from None
