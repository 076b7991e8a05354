"""In which numbers a network computes: rounded products on a GPU, half precision by autocast."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def computing(precision: Precision, device: str) -> Iterator[None]:
    """The network's numbers in this block; the switches of torch are as before after it.

    torch lets a GPU's convolutions, not its matrix products, round to TF32 unless told otherwise, so `fp32` has to be
    said too. Autocast leaves sums and products of float32 alone, so arithmetic around the network stays in it. The
    switches of TF32 are the process's: nothing else may compute in another thread meanwhile.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    kind = torch.device(device).type
    try:
        with torch.autocast(kind, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
