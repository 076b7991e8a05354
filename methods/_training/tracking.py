"""What trackers (tensorboard, wandb, ...) are told: settings once, numbers every few steps, pictures when watched."""

import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scalar = int | float | str | bool

# What accelerate knows -> one of the packages that it needs.
_PACKAGES = {
    "aim": ("aim",),
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}


def check(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names`; raises `ValueError` for one that is unknown or not installed. Accelerate would leave it out silently."""
    registered = getattr(sys.modules.get("accelerate.tracking"), "LOGGER_TYPE_TO_CLASS", {})
    for name in names:
        if name in _PACKAGES:
            packages = _PACKAGES[name]
            if not any(find_spec(package) for package in packages):
                raise ValueError(f"{name} is not installed: pip install {packages[0]}, or leave it out of trackers")
        elif name not in registered:
            raise ValueError(f"unknown tracker {name!r}; known: {', '.join(_PACKAGES)}")
    return names


def hyperparameters(metadata: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Scalar]:
    """Facts of the header and every setting by its dotted name, as values that every tracker takes."""
    facts = {name: text for name, text in metadata.items() if name not in ("params", "training")}
    return {**facts, **dict(_flat(settings, "train"))}


def _flat(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Scalar]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}.{name}")
        else:
            yield f"{before}.{name}", value if isinstance(value, (int, float, str, bool)) else str(value)


def show(accelerator: Any, name: str, pictures: NDArray[np.uint8] | None, step: int) -> None:
    """Pictures (N, H, W, 3) to every tracker that takes some."""
    for tracker in accelerator.trackers if pictures is not None else ():
        if hasattr(tracker, "log_images"):
            more = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: pictures}, step=step, **more)
