"""Weights from elsewhere for the Pyramid Condition Network (PCN): timm's, official PVTv2, CamoDiffusion's layout."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from amodal_bench.errors import Refused
from amodal_bench.methods._training import weights

from .network import Network
from .params import Model
from .pcn import Pcn

State = dict[str, Tensor]

# Official name -> name in the conditioning network; applied in this order.
_RENAMED = (
    (r"^patch_embed1\.mask_proj\.", "zoe."),
    (r"^time_embed\.(\d)\.", r"time.\1.net."),
    (r"^patch_embed1\.", "backbone.patch_embed."),
    (r"^patch_embed([234])\.", lambda m: f"backbone.stages.{int(m[1]) - 1}.downsample."),
    (r"^block(\d)\.", lambda m: f"backbone.stages.{int(m[1]) - 1}.blocks."),
    (r"^norm(\d)\.", lambda m: f"backbone.stages.{int(m[1]) - 1}.norm."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
    (r"^(patch_embed|stages)\.", r"backbone.\1."),
)
_PREFIXES = ("module.", "model.", "backbone.", "pcn.")
_ADDED = ("zoe.", "time.", "input_proj.")  # may be missing: they begin as they are


def check_starts(model: Model, starts: Mapping[str, Path]) -> None:
    """Raise `Refused` where a file does not fit the network, before anything of a training is written."""
    with torch.device("meta"):
        network = Network(model)
    if "weights" in starts:
        weights.check_fit(network, _whole(network, starts["weights"]), str(starts["weights"]))
    if "backbone" in starts:
        weights.check_fit(network.pcn, _backbone(network.pcn, starts["backbone"]), str(starts["backbone"]))


def load_backbone(pcn: Pcn, source: Path) -> None:
    """Fill the network from a file; raises `Refused` naming what does not fit."""
    weights.fit(pcn, _backbone(pcn, source), str(source))


def go_on_from(network: Network, source: Path) -> None:
    """Fill the whole network from weights of this method; raises `Refused` naming what does not fit."""
    weights.fit(network, _whole(network, source), str(source))


def _backbone(pcn: Pcn, source: Path) -> State:
    state = convert(read(source))
    fresh = pcn.state_dict()
    state = {name: value for name, value in state.items() if name in fresh or not name.startswith(_ADDED)}
    state = _with_all_channels(state, fresh, "backbone.patch_embed.proj.weight")
    kept = {name: value for name, value in fresh.items() if name.startswith(_ADDED)}
    return {**kept, **state}


def _whole(network: Network, source: Path) -> State:
    return _with_all_channels(read(source), network.state_dict(), "pcn.backbone.patch_embed.proj.weight")


def _with_all_channels(state: State, fresh: State, entry: str) -> State:
    """Channels of the input that the file does not know (visible mask, guides) come last, and begin unseen."""
    extra = fresh[entry].shape[1] - state[entry].shape[1] if entry in state else 0
    return {**state, entry: F.pad(state[entry], (0, 0, 0, 0, 0, extra))} if extra > 0 else state


def read(path: Path) -> State:
    """Tensors of a .safetensors file or of a torch checkpoint, which is never unpickled beyond plain data."""
    if not path.is_file():
        raise Refused(f"train.backbone_weights {path}: no such file (a file, 'auto', or 'none')")
    loaded = weights.read(path)
    for inside in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(inside), Mapping):
            loaded = loaded[inside]
    if not isinstance(loaded, Mapping):
        raise Refused(f"{path}: expected a mapping of names to tensors, found {type(loaded).__name__}")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def convert(state: State) -> State:
    """Names of timm's, the official or CamoDiffusion's layout as those of `Pcn`; heads are left out."""
    found: State = {}
    for name, value in state.items():
        new = name
        for prefix in _PREFIXES:
            new = new.removeprefix(prefix)
        if new.startswith(("head.", "decode_head.", "dn.")):
            continue
        for pattern, replacement in _RENAMED:
            new = re.sub(pattern, replacement, new)
        found[new] = value
    return found
