"""Weights in three layouts fill the same network."""

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from safetensors.torch import save_file  # noqa: E402

from amodal_bench.errors import Refused, WeightsNotFound  # noqa: E402
from amodal_bench.methods.conddiff.backbone import find_backbone  # noqa: E402
from amodal_bench.methods.conddiff.params import Model  # noqa: E402
from amodal_bench.methods.conddiff.pcn import Pcn  # noqa: E402
from amodal_bench.methods.conddiff.pretrained import load_backbone  # noqa: E402

SMALL = {"depths": (1, 2, 1, 1), "dims": (16, 32, 40, 64), "mlp_ratios": (2, 2, 2, 2)}
MODEL = Model.model_validate({"backbone": "pvt_v2_b0", "size": 32, **SMALL})


def official(state: dict[str, Any]) -> dict[str, Any]:
    """timm's names as the official release spells them."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^patch_embed\.", "patch_embed1.", name)
        new = re.sub(r"^stages\.(\d)\.downsample\.", lambda m: f"patch_embed{int(m[1]) + 1}.", new)
        new = re.sub(r"^stages\.(\d)\.blocks\.", lambda m: f"block{int(m[1]) + 1}.", new)
        new = re.sub(r"^stages\.(\d)\.norm\.", lambda m: f"norm{int(m[1]) + 1}.", new)
        found[new.replace(".dwconv.", ".dwconv.dwconv.")] = value
    return {**found, "head.weight": torch.zeros(1000, 64), "head.bias": torch.zeros(1000)}


def donor() -> Pcn:
    torch.manual_seed(5)
    made = Pcn(MODEL)
    with torch.no_grad():
        for module in (made.zoe, made.time):
            for parameter in module.parameters():  # type: ignore[union-attr]
                parameter.normal_()
    return made


def write(layout: str, source: Pcn, folder: Path) -> Path:
    plain = source.backbone.state_dict()
    path = folder / ("weights.safetensors" if layout == "timm" else "weights.pth")
    if layout == "timm":
        save_file(plain, path)
    elif layout == "official":
        torch.save(official(plain), path)
    else:
        assert source.zoe is not None
        assert source.time is not None
        camo = {f"model.backbone.{name}": value for name, value in official(plain).items() if "head" not in name}
        camo |= {f"model.backbone.patch_embed1.mask_proj.{k}": v for k, v in source.zoe.state_dict().items()}
        times = {name.replace(".net.", "."): v for name, v in source.time.state_dict().items()}
        camo |= {f"model.backbone.time_embed.{name}": value for name, value in times.items()}
        torch.save({"epoch": 3, "model": {**camo, "model.decode_head.pred.weight": torch.zeros(1)}, "scaler": {}}, path)
    return path


@pytest.mark.parametrize("layout", ["timm", "official", "camo"])
def test_every_layout_fills_the_network(layout: str, tmp_path: Path) -> None:
    source, target = donor(), Pcn(MODEL)
    load_backbone(target, write(layout, source, tmp_path))
    wanted, found = source.state_dict(), target.state_dict()
    names = [name for name in wanted if layout == "camo" or name.startswith("backbone.")]
    assert [name for name in names if not torch.equal(wanted[name], found[name])] == []
    assert layout == "camo" or bool((found["zoe.weight"] == 0).all())


def test_a_fourth_channel_begins_unseen(tmp_path: Path) -> None:
    source = donor()
    four = MODEL.model_copy(update={"vm_input": "channel"})
    target = Pcn(four)
    load_backbone(target, write("official", source, tmp_path))
    entry = target.backbone.patch_embed.proj.weight
    assert torch.equal(entry[:, :3], source.backbone.patch_embed.proj.weight)
    assert bool((entry[:, 3] == 0).all())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = write("official", donor(), tmp_path)
    deeper = MODEL.model_copy(update={"depths": (1, 2, 1, 2)})
    with pytest.raises(
        Refused, match=r"(?s)weights\.pth does not fit.*missing backbone\.stages\.3\.blocks\.1\.norm1\.weight"
    ):
        load_backbone(Pcn(deeper), path)
    with pytest.raises(Refused, match="no such file"):
        load_backbone(Pcn(MODEL), tmp_path / "none.pth")
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    with pytest.raises(Refused, match="not a whole checkpoint of tensors"):
        load_backbone(Pcn(MODEL), tmp_path / "bad.pth")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(Refused, match="not a whole checkpoint of tensors"):
        load_backbone(Pcn(MODEL), tmp_path / "code.pth")


def test_timms_weights_are_found_or_it_is_said_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound) as caught:
        find_backbone(Model(), None, tmp_path)
    told = str(caught.value)
    folder = tmp_path / "timm" / "pvt_v2_b4.in1k"
    assert f"hf download timm/pvt_v2_b4.in1k model.safetensors --local-dir {folder}" in told
    assert "--set train.backbone_weights=FILE" in told
    assert "train from scratch, which the paper does not: --set train.backbone_weights=none" in told
    folder.mkdir(parents=True)
    with pytest.raises(WeightsNotFound, match=r"holds neither model\.safetensors nor pytorch_model\.bin: hf download"):
        find_backbone(Model(), "auto", tmp_path)
    (folder / "model.safetensors").write_bytes(b"")
    assert find_backbone(Model(), None, tmp_path) == folder / "model.safetensors"


def test_from_scratch_is_asked_for_or_of_a_backbone_that_nobody_has_weights_of(tmp_path: Path) -> None:
    assert find_backbone(Model(), "none", tmp_path) is None
    assert find_backbone(MODEL, None, tmp_path) is None
    with pytest.raises(WeightsNotFound, match="ImageNet weights of pvt_v2_b0"):
        find_backbone(MODEL, "auto", tmp_path)
    with pytest.raises(Refused, match=r"train\.backbone_weights nane: no such file \(a file, 'auto', or 'none'\)"):
        find_backbone(Model(), "nane", tmp_path)
