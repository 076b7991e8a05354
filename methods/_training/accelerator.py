"""The accelerator of a training: which device, how many processes, which numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs

from amodal_bench.errors import Refused
from amodal_bench.plugin import TrainingRun

from .settings import TrainerSettings

_DEVICE = "ACCELERATE_TORCH_DEVICE"  # how accelerate is told which of several GPUs a single process takes


def accelerator_of(run: TrainingRun) -> Any:
    """The accelerator of a training; raises `Refused` where its batch can not be shared by the processes."""
    config: TrainerSettings = run.config
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.tf32
    with _on(run.device):
        if _processes() == 1:  # what an earlier training of this process was told is kept otherwise
            AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(
            cpu=run.device == "cpu",
            mixed_precision=config.precision,
            log_with=list(config.trackers) or None,
            project_dir=run.out,
            # Running statistics are equal everywhere where batch norm is of all processes: nothing to send about.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=not config.sync_batch_norm)],
        )
    if accelerator.device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.set_device(accelerator.device)
    shares = accelerator.num_processes * config.accumulate
    if config.batch_size % shares:
        raise Refused(
            f"train.batch_size {config.batch_size} can not be shared by {accelerator.num_processes} processes"
            + (f" in {config.accumulate} parts each (train.accumulate)" if config.accumulate > 1 else "")
        )
    return accelerator


@contextmanager
def _on(device: str) -> Iterator[None]:
    """A single process takes the GPU that was named; of several, each takes its own."""
    before = os.environ.get(_DEVICE)
    if ":" in device:
        if _processes() > 1:
            raise Refused(
                f"--device {device}: of several processes each takes its own GPU: --device cuda, and "
                "CUDA_VISIBLE_DEVICES chooses among them"
            )
        os.environ[_DEVICE] = device
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_DEVICE, None)
        else:
            os.environ[_DEVICE] = before


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
