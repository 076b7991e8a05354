"""The network: timm's features where nothing is added, gradients where something is, the sizes that were counted."""

from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from amodal_bench.methods.conddiff import CondDiff  # noqa: E402
from amodal_bench.methods.conddiff.network import Network, normalised  # noqa: E402
from amodal_bench.methods.conddiff.params import CondDiffParams, Model  # noqa: E402
from amodal_bench.methods.conddiff.pcn import Pcn, attend, dropped_path, sinusoid  # noqa: E402
from amodal_bench.resolve.presets import find_preset, preset_names  # noqa: E402
from amodal_bench.resolve.registry import Registry  # noqa: E402

TINY = {"backbone": "pvt_v2_b0", "depths": (1,) * 4, "dims": (16, 32, 40, 64), "size": 64, "width": 32, "ocr_width": 16}
PRESETS = [name for name in preset_names() if find_preset(name, Registry()).plugin.name == "conddiff"]


def tiny(**changes: Any) -> Model:
    return Model.model_validate({**TINY, **changes})


def inputs(size: int = 64, batch: int = 2) -> tuple[Any, Any, Any, Any]:
    """x_t, image, visible mask, log-SNRs."""
    generator = torch.Generator().manual_seed(3)
    x, visible = (torch.randn(batch, 1, size, size, generator=generator) for _ in range(2))
    image = torch.randn(batch, 3, size, size, generator=generator)
    return x, image, (visible > 0).float(), torch.linspace(-18, 11, batch)


@pytest.mark.parametrize(("name", "kernel"), [("pvt_v2_b0", 1), ("pvt_v2_b2", 1), ("pvt_v2_b0", 3)])
def test_without_token_and_with_zero_zoe_the_features_are_timms_to_the_bit(name: str, kernel: int) -> None:
    torch.manual_seed(0)
    pcn = Pcn(Model.model_validate({"backbone": name, "size": 64, "token": False, "vm_kernel": kernel})).eval()
    x, image, visible, snr = inputs()
    with torch.inference_mode():
        found = pcn(pcn.stem(image, visible), x, pcn.tokens(snr))
        wanted = pcn.backbone.forward_intermediates(image, intermediates_only=True)
    assert [feature.shape[1:] for feature in found] == [
        (dim, 16 >> level, 16 >> level) for level, dim in enumerate(pcn.dims)
    ]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("stage", [0, 3])
def test_two_streams_equal_one_sequence_with_the_token_in_front(stage: int) -> None:
    """Against attention written out on (token, patches), for a reduced and an unreduced stage."""
    torch.manual_seed(0)
    attn = timm.create_model("pvt_v2_b0", num_classes=0).stages[stage].blocks[0].attn.eval()
    side = 16 >> stage
    x, token = torch.randn(2, side * side, attn.dim), torch.randn(2, 1, attn.dim)
    both = torch.cat([token, x], dim=1)
    keys = both
    if attn.sr is not None:
        small = attn.sr(x.transpose(1, 2).reshape(2, attn.dim, side, side)).flatten(2).transpose(1, 2)
        keys = attn.norm(torch.cat([token, small], dim=1))
    heads = (attn.num_heads, attn.head_dim)
    q = attn.q(both).unflatten(-1, heads).transpose(1, 2)
    k, v = (part.unflatten(-1, heads).transpose(1, 2) for part in attn.kv(keys).chunk(2, dim=-1))
    weights = (q @ k.transpose(-2, -1) * attn.head_dim**-0.5).softmax(-1)
    wanted = attn.proj((weights @ v).transpose(1, 2).flatten(2))
    patches, told = attend(attn, x, token, (side, side))
    assert torch.allclose(torch.cat([told, patches], dim=1), wanted, atol=1e-5)


def test_every_parameter_that_is_added_to_the_backbone_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = Network(tiny()).train()
    x, image, visible, snr = inputs()
    network(x, image, visible, snr).square().mean().backward()
    silent = [
        name for name, p in network.named_parameters()
        if p.grad is None or (not name.startswith("pcn.backbone.") and not bool(p.grad.abs().sum() > 0))
    ]  # fmt: skip
    assert silent == []


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("start", ["identity", "random"])
def test_the_network_begins_as_if_the_visible_mask_and_the_noise_were_not_there(kernel: int, start: Any) -> None:
    """Unless the projection of image and visible mask is asked to begin at random."""
    torch.manual_seed(0)
    pcn = Pcn(tiny(vm_kernel=kernel), start=start).eval()
    x, image, visible, snr = inputs()
    with torch.inference_mode():
        first = pcn(pcn.stem(image, visible), x, pcn.tokens(snr))
        second = pcn(pcn.stem(image, 1 - visible), -x, pcn.tokens(snr))
    same = all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert same is (start == "identity")


def test_the_kernel_of_the_projection_is_how_far_it_sees() -> None:
    torch.manual_seed(0)
    point = torch.zeros(1, 4, 9, 9)
    point[0, 3, 4, 4] = 1
    for kernel in (1, 3):
        projection = Pcn(tiny(vm_kernel=kernel), start="random").input_proj
        assert projection is not None
        seen = projection(point) - projection(torch.zeros(1, 4, 9, 9))
        assert int((seen[0].abs().sum(0) > 0).sum()) == kernel**2


@pytest.mark.parametrize("joint", [True, False])
def test_stochastic_depth_drops_token_and_patches_together_or_each_for_itself(joint: bool) -> None:
    torch.manual_seed(0)
    drop = timm.layers.DropPath(0.5).train()
    patches, token = dropped_path(drop, torch.ones(400, 6, 3), torch.ones(400, 1, 3), joint)
    assert (patches.shape, token.shape) == ((400, 6, 3), (400, 1, 3))
    gone, token_gone = (stream.flatten(1).eq(0).all(1) for stream in (patches, token))
    assert float(patches.max()) == float(token.max()) == 2  # what is left makes up for what is gone
    assert 150 < int(gone.sum()) < 250
    assert 150 < int(token_gone.sum()) < 250
    assert bool((gone == token_gone).all()) is joint


def test_a_network_in_training_heeds_joint_and_one_in_use_does_not() -> None:
    x, image, visible, snr = inputs()
    answers = []
    for joint in (True, False):
        torch.manual_seed(0)
        network = Network(tiny(), drop_path=0.5, joint=joint)
        torch.manual_seed(1)
        trained = network.train()(x, image, visible, snr)
        answers.append((trained, network.eval()(x, image, visible, snr)))
    assert not torch.equal(answers[0][0], answers[1][0])
    fresh = Network(tiny(), drop_path=0.5, joint=True)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh.eval()(x, image, visible, snr), answers[1][1])


@pytest.mark.parametrize(
    "changes",
    [
        {"use_vm": False}, {"vm_input": "channel"}, {"ocr": False}, {"fusion": "linear"}, {"afg_kernel": 1},
        {"token": False}, {"zoe": False}, {"ocr_residual": False}, {"size": 96}, {"vm_kernel": 3},
    ],
)  # fmt: skip
def test_every_switch_builds_a_network_that_answers(changes: dict[str, Any]) -> None:
    model = tiny(**changes)
    network = Network(model).eval()
    x, image, visible, snr = inputs(model.size)
    with torch.inference_mode():
        logits = network(x, image, visible, snr)
    assert logits.shape == x.shape
    assert bool(logits.isfinite().all())


def test_without_the_visible_mask_as_input_it_is_not_seen() -> None:
    network = Network(tiny(use_vm=False)).eval()
    x, image, visible, snr = inputs()
    with torch.inference_mode():
        assert torch.equal(network(x, image, visible, snr), network(x, image, 1 - visible, snr))


def test_one_log_snr_serves_a_whole_batch() -> None:
    network = Network(tiny()).eval()
    x, image, visible, _ = inputs()
    with torch.inference_mode():
        one = network(x, image, visible, torch.tensor([-3.0]))
        each = network(x, image, visible, torch.tensor([-3.0, -3.0]))
    assert torch.allclose(one, each, atol=1e-6)


@cache
def parameters(model: Model) -> int:
    """Counted on the meta device: shapes without memory."""
    with torch.device("meta"):
        return sum(p.numel() for p in Network(model).parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    method = find_preset(name, Registry()).make()
    assert isinstance(method, CondDiff)
    assert parameters(method.params.model) > 1e6


def test_the_papers_network_has_the_size_that_was_counted() -> None:
    with torch.device("meta"):
        network = Network(CondDiffParams().model)

    def millions(module: Any) -> float:
        return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)

    assert millions(network) == pytest.approx(79.6, abs=0.1)
    assert millions(network.pcn) == pytest.approx(65.13, abs=0.02)
    assert millions(network.pcn.backbone) == pytest.approx(62.04, abs=0.01)
    assert millions(network.dn.ocr) == pytest.approx(5.58, abs=0.01)
    assert millions(network.dn.emphasis) == pytest.approx(4.72, abs=0.01)


def test_the_sinusoid_has_cosines_first() -> None:
    found = sinusoid(torch.tensor([0.0, 2.0]), 8)
    assert found[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert found[1, [0, 4]].tolist() == pytest.approx([-0.41615, 0.9093], abs=1e-4)


def test_images_are_normalised_as_imagenet() -> None:
    found = normalised(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert found[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-3)
