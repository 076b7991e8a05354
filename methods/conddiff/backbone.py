"""Where the backbone's first weights lie: found before a training begins, digested, never downloaded in passing.

The paper begins from ImageNet weights. A training from scratch is another one, so it has to be asked for, or be that of
a backbone whose layers were changed, which nobody has weights of. Importing this needs no torch.
"""

from pathlib import Path

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.methods._pretrained import WeightsSource, find

from .params import Model

_FILES = ("model.safetensors", "pytorch_model.bin")
_OTHERWISE = (
    "or name a file: --set train.backbone_weights=FILE\n"
    "or train from scratch, which the paper does not: --set train.backbone_weights=none"
)


def source(model: Model, said: str | None) -> str:
    """`auto`, `none` or a file's name: what was said, else `auto` for a backbone as timm has it."""
    changed = any((model.depths, model.dims, model.heads, model.mlp_ratios))
    return said or ("none" if changed else "auto")


def find_backbone(model: Model, said: str | None, weights: Path) -> Path | None:
    """The file to begin from, None for a training from scratch.

    Raises `Refused` for a file that is not there, and `WeightsNotFound` with the way to get timm's.
    """
    asked = source(model, said)
    if asked == "none":
        return None
    if asked == "auto":
        return _of_timm(model.backbone, weights)
    if not Path(asked).is_file():
        raise Refused(f"train.backbone_weights {asked}: no such file (a file, 'auto', or 'none')")
    return Path(asked)


def _of_timm(name: str, weights: Path) -> Path:
    """The file of timm's weights below the tree of weights or in the hub's cache."""
    import timm

    try:
        hub = timm.models.get_pretrained_cfg(name).hf_hub_id
    except (RuntimeError, AttributeError):
        hub = None
    if not hub:
        raise Refused(f"timm has no weights for the backbone {name}: name a file with train.backbone_weights=FILE")
    told = WeightsSource(
        title=f"the ImageNet weights of {name}, from which the paper begins",
        licence="see the model's page (PVTv2: Apache-2.0)",
        size="250 MB for pvt_v2_b4",
        get=f"hf download {hub} {_FILES[0]} --local-dir {{folder}}\n{_OTHERWISE}",
    )
    folder = find(hub, told, weights, Path(__file__).parent / "weights")
    for file in _FILES:
        if (folder / file).is_file():
            return folder / file
    raise WeightsNotFound(
        f"{folder} holds neither {' nor '.join(_FILES)}: hf download {hub} {_FILES[0]}\n{_OTHERWISE}", [told.title]
    )
