"""From what a user wants trained to a job: names, settings and files found, or a refusal."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.files import configs
from amodal_bench.files.cache import file_digest
from amodal_bench.files.documents import read_yaml
from amodal_bench.files.names import names_of
from amodal_bench.plugin import AnyDataset, DatasetCard, Settings
from amodal_bench.resolve import provenance
from amodal_bench.resolve.held_out import HELD_OUT, divided
from amodal_bench.resolve.locate import DataFlags, weights_root
from amodal_bench.resolve.mixture import open_parts, options_of, splits_of
from amodal_bench.resolve.presets import Preset, build, find_preset, merged
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved

MODEL = "model.safetensors"


class TrainFile(Settings):
    """configs/train/NAME.yaml: what training adds to the preset NAME, and `options` of the dataset it is meant for.

    Of several, `dataset: a+b`, the options are by dataset: `options: {a: {size: 100}}`.
    """

    title: str = ""
    training: dict[str, Any] = {}
    dataset: str | None = None
    options: dict[str, Any] = {}


class TrainRequest(Settings):
    """What a user asked for, as train.json keeps it."""

    method: str
    config: Path | None = None
    dataset: str
    split: str | None = None
    val_split: str | None = None
    seed: int = 42
    params: dict[str, Any] = {}
    training: dict[str, Any] = {}
    options: dict[str, Any] = {}
    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None
    weights: Path | None = None
    plugins: tuple[Path, ...] = ()
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A request whose names, parameters and files have been found."""

    request: TrainRequest
    preset: Preset
    config: Settings
    train: AnyDataset
    val: AnyDataset
    metadata: dict[str, str]
    starts: dict[str, Path]
    out: Path
    device: str

    @property
    def complete(self) -> bool:
        """Whether the weights are there."""
        return (self.out / MODEL).is_file()


def find_train_file(name: str, given: Path | None = None) -> TrainFile:
    """The file given, else train/NAME.yaml, built in or from outside, empty where there is none."""
    config = configs.by_path(given) if given else configs.find("train", name)
    return read_train_file(config.path) if config else TrainFile()


def read_train_file(path: Path) -> TrainFile:
    """Read one file; raises `Refused` naming it."""
    try:
        return TrainFile.model_validate(read_yaml(path, "a training file") or {})
    except ValidationError as error:
        raise Refused(f"{path}: not a training file: {error}") from None


def prepare(request: TrainRequest) -> TrainJob:
    """Resolve a request; raises `Refused` before anything is written."""
    registry = Registry(request.plugins)
    preset = find_preset(request.method, registry, request.params)
    cls = preset.plugin.cls
    if cls.Training is None:
        raise Refused(f"method {preset.name!r} has nothing to train: use it as it is with amodal-bench bench")
    if preset.weights_of:
        raise Refused(f"{preset.name!r} takes the weights of {preset.weights_of!r}: train that")
    if preset.trained_on not in (None, request.dataset):
        raise Refused(
            f"{preset.name!r} is the preset of weights from {preset.trained_on!r}: train it with --dataset "
            f"{preset.trained_on}, or another preset on {request.dataset!r}"
        )
    file = find_train_file(preset.name, request.config)
    config = build(cls.Training, merged(file.training, request.training), f"the training of {preset.name!r}")
    options = merged(file.options, request.options) if file.dataset == request.dataset else request.options
    flags = DataFlags(data_root=request.data_root, root=request.root, image_root=request.image_root)
    splits = splits_of(request.dataset, registry)
    train_split = request.split or ("train" if "train" in splits else None)
    if train_split is None:
        raise Refused(f"{request.dataset!r} has no split 'train': name one with --split ({', '.join(splits)})")
    train, source = open_parts(request.dataset, registry, train_split, options, flags)
    if not len(train):
        raise Refused(f"{train.card.title} {train.split} has no instance to train on: {train.funnel.as_dict()}")
    facts: dict[str, str | None] = {"method_source": preset.plugin.source, "dataset_source": source}
    cards = [registry.dataset(name).cls.card for name in names_of(request.dataset)]
    watched = request.val_split or default_watched(cards, train_split)
    if watched == HELD_OUT:
        train, val, facts["held_out"] = divided(train)
    else:
        try:
            val, _ = open_parts(request.dataset, registry, watched, options, flags)
        except DatasetNotReady as error:
            way_out = f"\nor watch groups that are held out of {train_split}: --val-split {HELD_OUT}"
            raise DatasetNotReady(f"{error}{'' if request.val_split else way_out}") from None
    weights = weights_root(request.weights)
    starts = dict(preset.make().starts(config, weights))
    facts |= {f"start_{name}": f"sha256:{file_digest(path)}" for name, path in starts.items()}
    device = provenance.choose_device(request.device, cls.card.needs)
    metadata = _metadata(request, preset, config, train, {name: text for name, text in facts.items() if text})
    metadata |= _watched(request.dataset, cards, watched)
    return TrainJob(
        request, preset, config, train, val, metadata, starts, weights / preset.name / request.dataset, device
    )


def default_watched(cards: Sequence[DatasetCard], train_split: str) -> str:
    """What a training is watched by: `val` where nobody reports numbers on it, else groups held out of the split."""
    unreported = all("val" in card.splits and "val" not in (card.default_split, train_split) for card in cards)
    return "val" if unreported else HELD_OUT


def _watched(dataset: str, cards: Sequence[DatasetCard], watched: str) -> dict[str, str]:
    """Facts beside the digest, since to watch changes no weight: what was watched, and whether it is reported on."""
    is_reported = any(watched == card.default_split for card in cards)
    reported = {"watched_reported": "yes"} if is_reported else {}
    return {"watched": f"{dataset}/{watched}", **reported}


def _metadata(
    request: TrainRequest, preset: Preset, config: Settings, data: AnyDataset, more: dict[str, str]
) -> dict[str, str]:
    """What the header of the weights says; `config` is the digest of all of it that can change a weight."""
    facts = {
        "method": preset.plugin.name,
        "revision": str(preset.plugin.cls.card.revision),
        "preset": preset.name,
        "params": json.dumps(resolved(preset.params), sort_keys=True),
        "training": json.dumps(resolved(config), sort_keys=True),
        "dataset": request.dataset,
        "split": data.split,
        "options": json.dumps(options_of(data), sort_keys=True),
        "fingerprint": data.fingerprint(),
        "instances": str(len(data)),
        "seed": str(request.seed),
        "processes": os.environ.get("WORLD_SIZE", "1"),
        **more,
    }
    weighty = facts | {"training": json.dumps(_without_asides(config), sort_keys=True)}
    digest = hashlib.sha256(json.dumps(weighty, sort_keys=True).encode()).hexdigest()[:12]
    return {**facts, "config": digest}


def _without_asides(config: Settings) -> dict[str, Any]:
    return {name: value for name, value in resolved(config).items() if name not in config.asides}


def differences(job: TrainJob, before: dict[str, Any]) -> list[str]:
    """`name: what was, what is` of all that can change a weight, from the metadata that a training has left."""
    then, now = _flat(before), _flat(job.metadata)
    aside = {f"training.{name}" for name in job.config.asides} | {"config", "watched", "watched_reported"}
    return [
        f"{name}: {then.get(name, 'nothing')} there, {now.get(name, 'nothing')} here"
        for name in sorted({*then, *now} - aside)
        if then.get(name) != now.get(name)
    ]


def _flat(metadata: dict[str, Any]) -> dict[str, str]:
    """Facts by name; those that are settings by the name of each, `training.lr`."""
    found: dict[str, str] = {}
    for name, text in metadata.items():
        inside = json.loads(text) if name in ("params", "training", "options") else None
        found |= {f"{name}.{key}": str(value) for key, value in inside.items()} if inside else {name: str(text)}
    return found
