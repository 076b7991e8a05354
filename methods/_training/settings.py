"""The settings of a training that do not depend on what is trained."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from amodal_bench.plugin import Settings

from . import tracking


class TrainerSettings(Settings):
    """How long, how fast, how it is kept and watched. `batch_size` is the total of all processes.

    `schedule`: `epoch` lowers the learning rate along a cosine from `lr` to `final_lr` once an epoch, `step` every
    step, after `warmup` steps.
    `ema` averages the weights over about 1 / (1 - ema) steps; 0 ships the last ones. An epoch sees `epoch_size`
    instances (None: all). `val_limit` instances are watched after every `val_every` epochs and at the end. `save_fp16`
    stores the weights in half precision.
    `accumulate` takes a batch in so many parts, one after the other, where it does not fit the memory. Batch norms are
    of all processes (`sync_batch_norm`) and of one part. The state is kept every `save_minutes`, at the end of an epoch
    and at a signal. Losses are looked at every `read_every` steps: to look is to wait for a GPU. `tf32` and `compile`
    (torch.compile) are for GPUs.
    """

    old_names: ClassVar = {
        "batch": "batch_size",
        "rate": "lr",
        "last_rate": "final_lr",
        "clip": "max_grad_norm",
        "half": "save_fp16",
    }

    asides: ClassVar = frozenset(
        {"workers", "keep_every", "val_every", "val_limit", "log_every", "read_every", "save_minutes", "trackers"}
    )

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=16, ge=1)
    lr: float = Field(default=1e-4, gt=0)
    final_lr: float = Field(default=1e-6, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["epoch", "step"] = "epoch"
    warmup: int = Field(default=0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["no", "fp16", "bf16"] = "no"
    channels_last: bool = False
    tf32: bool = True
    compile: bool = False
    sync_batch_norm: bool = True
    accumulate: int = Field(default=1, ge=1)
    workers: int = Field(default=0, ge=0)
    epoch_size: int | None = Field(default=None, ge=1)
    keep_every: int = Field(default=5, ge=1)
    val_every: int = Field(default=1, ge=1)
    val_limit: int = Field(default=200, ge=0)
    log_every: int = Field(default=20, ge=1)
    read_every: int = Field(default=10, ge=1)
    save_minutes: float = Field(default=15, gt=0)
    trackers: tuple[str, ...] = ()
    save_fp16: bool = False

    @field_validator("trackers")
    @classmethod
    def _trackers_are_there(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tracking.check(names)
