"""Weights on disk: safetensors with metadata, and errors that name what does not fit."""

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from amodal_bench.errors import Refused
from amodal_bench.files.cache import write_atomic

_SHOWN = 5
# What reading a damaged file raises; the old format of torch is read without any check of its own.
_BROKEN = (
    SafetensorError, struct.error, EOFError,
    RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
)  # fmt: skip


def save(network: nn.Module, path: Path, metadata: Mapping[str, str], half: bool) -> None:
    """Write the state of a network whole or not at all; `half` stores floats as fp16."""
    state = {
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    write_atomic(path, canonical(to_bytes(state, dict(metadata))))


def canonical(data: bytes) -> bytes:
    """The same safetensors file with its header's keys in order: the library leaves that of the metadata to chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def read(path: Path) -> Any:
    """What a .safetensors file, or a torch file of plain data, holds; raises `Refused` naming a damaged one."""
    try:
        return load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except pickle.UnpicklingError:  # its own text advises to run the code in the file
        raise Refused(f"{path}: not a whole checkpoint of tensors: it is damaged, or holds more than tensors") from None
    except _BROKEN as error:
        first = (str(error).splitlines() or [""])[0]
        raise Refused(f"{path}: not a whole checkpoint of tensors: {type(error).__name__}: {first}") from None


def _unpickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def load(network: nn.Module, path: Path) -> None:
    """Read a file into a network (fp16 becomes fp32); raises `Refused` naming the first tensors that do not fit."""
    fit(network, read(path), str(path))


def fit(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Put tensors into a network; raises `Refused` naming the first missing, unknown and misshapen ones."""
    check_fit(network, state, origin)
    expected = network.state_dict()
    network.load_state_dict({name: value.to(expected[name].dtype) for name, value in state.items()})


def check_fit(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Raise `Refused` as `fit` does, and change nothing: the network may be on the device `meta`."""
    expected = network.state_dict()
    faults = [
        *(f"missing {name} {tuple(expected[name].shape)}" for name in expected if name not in state),
        *(f"unknown {name} {tuple(state[name].shape)}" for name in state if name not in expected),
        *(
            f"{name} is {tuple(state[name].shape)}, expected {tuple(expected[name].shape)}"
            for name in expected
            if name in state and state[name].shape != expected[name].shape
        ),
    ]
    if faults:
        more = f"\n  ... and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        listed = "\n  ".join(faults[:_SHOWN])
        raise Refused(f"{origin} does not fit this network ({len(faults)} tensors differ):\n  {listed}{more}")
