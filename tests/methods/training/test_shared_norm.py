"""Batch norm of all processes, parts of a batch, and what is refused because too little would be seen at once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from amodal_bench.errors import Refused
from amodal_bench.methods._training.settings import TrainerSettings
from amodal_bench.methods._training.shared_norm import SharedBatchNorm, shared
from amodal_bench.plugin import TrainingRun
from tests.methods.training.thumbnails import network, train

Start = Callable[..., TrainingRun]


@pytest.fixture
def group() -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_of_one_process_it_is_torchs_batch_norm(momentum: float | None) -> None:
    torch.manual_seed(0)
    theirs, ours = nn.BatchNorm2d(3, momentum=momentum), SharedBatchNorm(3, momentum=momentum)
    with torch.no_grad():
        theirs.weight.uniform_(0.5, 2)
        theirs.bias.normal_()
    ours.load_state_dict(theirs.state_dict())
    for _ in range(2):
        data, outer = 3 * torch.randn(4, 3, 5, 6) + 7, torch.randn(4, 3, 5, 6)
        inputs = [data.clone().requires_grad_() for _ in range(2)]
        outputs = [norm(x) for norm, x in zip((theirs, ours), inputs, strict=True)]
        for output in outputs:
            (output * outer).sum().backward()
        assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
        assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-5)
    for mine, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, wanted.grad, atol=1e-4)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, atol=1e-5), name
    with torch.no_grad():
        assert torch.equal(ours.eval()(data), theirs.eval().requires_grad_(False)(data)) or torch.allclose(
            ours(data), theirs(data), atol=1e-5
        )


@pytest.mark.usefixtures("group")
def test_its_gradient_is_that_of_finite_differences() -> None:
    norm = SharedBatchNorm(2).double()
    torch.manual_seed(0)
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,), eps=1e-4, atol=1e-3)


def test_norms_are_of_all_processes_where_there_are_several() -> None:
    config = TrainerSettings(batch_size=16)
    assert not any(isinstance(module, SharedBatchNorm) for module in shared(network(), config, 1, False).modules())
    converted = shared(network(), config, 16, False)
    assert any(isinstance(module, SharedBatchNorm) for module in converted.modules())
    assert converted.state_dict().keys() == network().state_dict().keys()
    on_gpu = shared(network(), config, 16, True)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in on_gpu.modules())


@pytest.mark.parametrize(
    ("world", "settings", "seen"),
    [(16, {"sync_batch_norm": False}, 1), (4, {"sync_batch_norm": False}, 4), (1, {"accumulate": 4}, 4)],
)
def test_a_norm_of_less_than_eight_samples_is_refused(world: int, settings: dict[str, Any], seen: int) -> None:
    config = TrainerSettings(batch_size=16, **settings)
    with pytest.raises(Refused, match=rf"would see {seen} samples .*16, {world} processes.*sync_batch_norm=true"):
        shared(network(), config, world, False)
    shared(network(norm=False), config, world, False)
    shared(network(), TrainerSettings(batch_size=16 * world * 4, **settings), world, False)


def test_a_batch_in_parts_is_the_whole_batch_where_nothing_looks_at_all_of_it(ellipses: Any, start: Start) -> None:
    """Up to rounding; with a batch norm, each part has a mean of its own and the weights part."""
    settings = {"epochs": 2, "batch_size": 16, "lr": 1e-3, "val_every": 9}

    def trained(out: str, norm: bool, parts: int) -> dict[str, Any]:
        run = start(TrainerSettings.model_validate({**settings, "accumulate": parts}), out)
        train(ellipses(32), ellipses(2), run, dropout=0, norm=norm)
        return torch.load(run.out / "checkpoints" / "latest.pt", weights_only=True)["network"]

    def distance(norm: bool) -> float:
        one, two = trained(f"one-{norm}", norm, 1), trained(f"two-{norm}", norm, 2)
        return max(float((one[name] - two[name]).abs().max()) for name in one)

    assert distance(norm=False) < 2e-6
    assert distance(norm=True) > 1e-5


def test_a_batch_that_parts_do_not_divide_is_refused(ellipses: Any, start: Start) -> None:
    run = start(TrainerSettings(batch_size=9, accumulate=2))
    with pytest.raises(Refused, match=r"batch_size 9 can not be shared by 1 processes in 2 parts each"):
        train(ellipses(4), ellipses(2), run)
