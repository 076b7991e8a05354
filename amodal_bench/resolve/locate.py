"""Where datasets and weights lie: flag, environment, ./amodal-bench.yaml, default, in that order."""

import os
from dataclasses import dataclass
from pathlib import Path

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.files.cache import cache_folder, file_digest, manifest_digest, tree_digest
from amodal_bench.files.machine import DatasetPaths, read_paths
from amodal_bench.files.names import JOIN, names_of, plain_name
from amodal_bench.plugin import Location
from amodal_bench.resolve.presets import Preset
from amodal_bench.resolve.weights_header import read_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFlags:
    """`--data-root`, `--root` and `--image-root` as they were given."""

    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None


def dataset_location(name: str, flags: DataFlags) -> Location:
    """The folder of dataset `name`: --root > --data-root/NAME > AMODAL_BENCH_DATA/NAME > config > ./data/NAME."""
    paths = read_paths()
    configured = paths.datasets.get(name, DatasetPaths())
    environment = os.environ.get("AMODAL_BENCH_DATA")
    if flags.root:
        root = flags.root
    elif flags.data_root:
        root = flags.data_root / name
    elif environment:
        root = Path(environment) / name
    else:
        root = configured.root or (paths.data_root or Path("data")) / name
    return Location(name=name, root=root, images=flags.image_root or configured.images, cache=cache_folder())


def weights_root(flag: Path | None) -> Path:
    """--weights > AMODAL_BENCH_WEIGHTS > config > ./weights."""
    environment = os.environ.get("AMODAL_BENCH_WEIGHTS")
    return flag or (Path(environment) if environment else None) or read_paths().weights or Path("weights")


def results_root(flag: Path | None) -> Path:
    """--results > config > ./results."""
    return flag or read_paths().results or Path("results")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A safetensors file and what its header says it is."""

    path: Path
    sha256: str
    metadata: dict[str, str]

    def setting(self, dataset: str) -> str:
        """`supervised` where it was trained on `dataset`, perhaps beside others, `zero-shot` where on others alone,
        `unknown` where it does not say.
        """
        trained_on = self.metadata.get("dataset")
        if trained_on is None:
            return "unknown"
        return "supervised" if dataset in names_of(trained_on) else "zero-shot"


def find_checkpoint(preset: Preset, dataset: str, flag: Path | None, weights: Path) -> Checkpoint | None:
    """The weights of a trained method, or None for a method that trains nothing.

    --checkpoint > WEIGHTS/PRESET/TRAINSET/model.safetensors > the same of a training on several datasets of which this
    is one > the file shipped with the preset. Raises `WeightsNotFound` that names all of these and the command that
    trains it, and `Refused` where several trainings are as good.
    """
    if not preset.plugin.cls.card.trained:
        if flag:
            raise Refused(f"method {preset.name!r} has no weights to load, but --checkpoint {flag} was given")
        return None
    if flag:
        if not flag.is_file():
            raise WeightsNotFound(f"--checkpoint {flag}: no such file")
        return _read(flag)
    trainset = plain_name(preset.trained_on or dataset, "dataset")
    trained = weights / preset.weights / trainset / "model.safetensors"
    shipped = preset.plugin.folder / "weights" / f"{preset.weights}.safetensors"
    for path in (trained, *_trained_together(weights / preset.weights, trainset), shipped):
        if path.is_file():
            return _read(path)
    raise WeightsNotFound(
        f"no weights for {preset.name!r} on {dataset!r}.\n"
        f"Looked for: {trained}\n       and: {shipped}\n"
        f"Train them: amodal-bench train --method {preset.weights} --dataset {trainset}\n"
        "or name a file: --checkpoint FILE (a folder of weights: --weights DIR or AMODAL_BENCH_WEIGHTS)"
    )


def _trained_together(folder: Path, dataset: str) -> list[Path]:
    """Weights of a training on several datasets, this one among them."""
    found = sorted(path for path in folder.glob(f"*{JOIN}*/model.safetensors") if dataset in names_of(path.parent.name))
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise Refused(f"weights of {len(found)} trainings hold {dataset!r}: {listed}. Name one with --checkpoint FILE")
    return found


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The pretrained models that a method reads: where each lies, and the sha256 of its file or files."""

    paths: dict[str, Path]
    sha256: dict[str, str]

    @property
    def digest(self) -> str | None:
        """One sha256 of all, None where there are none."""
        return manifest_digest(self.sha256.items()) if self.sha256 else None


def find_pretrained(preset: Preset, weights: Path) -> Pretrained:
    """Ask the method for its pretrained models and digest them; raises `WeightsNotFound` where one is missing."""
    paths = dict(preset.make().pretrained(weights))
    return Pretrained(paths, {part: (file_digest if p.is_file() else tree_digest)(p) for part, p in paths.items()})


def _read(path: Path) -> Checkpoint:
    return Checkpoint(path, file_digest(path), read_metadata(path))
