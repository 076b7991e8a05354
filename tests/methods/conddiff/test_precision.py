"""Lower precision, compiled parts, and cutting beside the network: what they may change, and what they must not."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from amodal_bench.methods._precision import computing  # noqa: E402
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams  # noqa: E402
from amodal_bench.methods.conddiff.params import Precision  # noqa: E402
from amodal_bench.methods.conddiff.precision import compiled_step  # noqa: E402
from amodal_bench.methods.conddiff.sampler import Noise  # noqa: E402
from amodal_bench.store.spec import resolved  # noqa: E402
from tests.methods.conddiff.test_method import queries  # noqa: E402

Make = Callable[..., CondDiff]
SEEDS = list(range(9))


def test_precision_and_compile_stand_in_keys_where_they_are_asked_for_alone() -> None:
    assert not {"precision", "compile"} & set(resolved(CondDiffParams()))
    asked = resolved(CondDiffParams(precision="bf16", compile=True))
    assert (asked["precision"], asked["compile"]) == ("bf16", True)


def spied(made: CondDiff, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """(name, dtype of what comes in, of what comes out) of every call of the network's two halves."""
    seen: list[Any] = []
    network = made.network
    for part, name in ((network.pcn, "stem"), (network, "step")):
        inner = getattr(part, name)

        def outer(*given: Any, inner: Any = inner, name: str = name) -> Any:
            found = inner(*given)
            seen.append((name, given[1].dtype, found.dtype))
            return found

        monkeypatch.setattr(part, name, outer)
    return seen


@pytest.mark.parametrize("sampler", ["posterior", "ust_renoise"])
def test_bf16_is_the_networks_alone(method: Make, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """x_t goes in as float32 at every step, whatever comes out."""
    diffusion = {"noise_d": 11.6, "steps": 3, "sampler": sampler}
    whole, half = (method(diffusion=diffusion, precision=name) for name in ("fp32", "bf16"))
    seen = spied(half, monkeypatch)
    masks = [made.predict(queries(4), SEEDS[:4]) for made in (whole, half)]
    assert seen == [("stem", torch.float32, torch.bfloat16)] + 3 * [("step", torch.float32, torch.bfloat16)]
    apart = sum(int((a ^ b).sum()) for a, b in zip(*masks, strict=True))
    # bf16 has 8 bits, and this network is undecided everywhere: the masks are alike, not the same.
    assert 0 < apart < 0.1 * sum(mask.size for mask in masks[0])
    assert not torch.is_autocast_enabled("cpu")


def test_the_switches_of_torch_are_put_back() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    names: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
    for name in names:
        with suppress(KeyError), computing(name, "cpu"):
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (name == "tf32", name == "tf32")
            assert torch.is_autocast_enabled("cpu") == (name == "bf16")
            raise KeyError
        assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def test_compiled_parts_answer_as_the_network_and_a_block_is_compiled_once_a_stage(
    method: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a counter in the compiler's place: three blocks a stage are four graphs, the denoising network a fifth."""
    from torch._dynamo.testing import CompileCounter

    counter, real = CompileCounter(), torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda part, dynamic: real(part, backend=counter, dynamic=dynamic, fullgraph=True)
    )
    torch._dynamo.reset()
    model = {"backbone": "pvt_v2_b0", "depths": (3, 3, 3, 3), "dims": (8, 16, 40, 64), "size": 32, "width": 16}
    made = method(model={**model, "ocr": False}, compile=True, diffusion={"noise_d": 6, "steps": 2})
    plain = method(model={**model, "ocr": False}, diffusion={"noise_d": 6, "steps": 2})
    made.network.load_state_dict(plain.network.state_dict())
    asked = queries(3)
    masks = [one.predict(asked, SEEDS[:3]) for one in (plain, made, made)]
    assert counter.frame_count == 5
    assert all(np.array_equal(a, b) for found in masks[1:] for a, b in zip(masks[0], found, strict=True))
    torch._dynamo.reset()


def test_a_compiled_step_leaves_the_network_as_it_is(method: Make) -> None:
    network = method().network
    names = list(network.state_dict())
    compiled_step(network)
    assert list(network.state_dict()) == names
    assert type(network.dn).__name__ == "Denoiser"


def test_the_next_batch_is_cut_and_the_last_pasted_while_the_network_works(
    method: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network waits for both before it answers: one after the other, it would wait for ever."""
    made = method(forward_batch=3, diffusion={"noise_d": 11.6, "steps": 1})
    wanted = made.predict(queries(9), SEEDS)
    log: list[tuple[str, int]] = []
    changed, step = threading.Condition(), made.network.step

    def noted(name: str) -> Any:
        inner = getattr(made, name)

        def outer(*given: Any) -> Any:
            found = inner(*given)
            with changed:
                log.append((name, sum(kind == name for kind, _ in log)))
                changed.notify_all()
            return found

        return outer

    def waiting(*given: Any) -> Any:
        with changed:
            number = sum(kind == "network" for kind, _ in log)
            log.append(("network", number))
            meanwhile = {("_cut", min(number + 1, 2)), *([("_paste", number - 1)] if number else [])}
            assert changed.wait_for(lambda: meanwhile <= set(log), timeout=60)
        return step(*given)

    for name in ("_cut", "_paste"):
        monkeypatch.setattr(made, name, noted(name))
    monkeypatch.setattr(made.network, "step", waiting)
    found = made.predict(queries(9), SEEDS)
    assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_what_cannot_be_cut_is_told_as_it_was(method: Make) -> None:
    made, asked = method(forward_batch=2), queries(5)
    broken = asked[3].image[:, :, 0]  # no colours
    object.__setattr__(asked[3], "image", broken)
    with pytest.raises((ValueError, TypeError)):
        made.predict(asked, SEEDS[:5])


def test_noise_is_what_torch_draws_for_each_seed() -> None:
    noise, generators = Noise([3, 4], 8, "cpu"), [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    for name, draw in (("normal", torch.randn), ("uniform", torch.rand), ("normal", torch.randn)):
        wanted = torch.stack([draw((1, 8, 8), generator=generator) for generator in generators])
        assert torch.equal(getattr(noise, name)(), wanted)
