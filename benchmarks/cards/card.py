"""A CUDA card: that there is one, what it is, how long it takes, how much it holds, what it can do at most."""

import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from amodal_bench.errors import Refused
from amodal_bench.methods._precision import computing
from amodal_bench.methods.conddiff.params import Precision
from amodal_bench.resolve import provenance

GIB, TERA = 2**30, 1e12


def find_card(dry: bool) -> str:
    """The device to measure: `cpu` in a dry run; raises `Refused` where torch sees no card."""
    if dry:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs alone"
    raise Refused(
        f"this measures a CUDA card, and torch {torch.__version__} ({built}) sees none here. It needs a card that "
        "nvidia-smi lists, a driver that is new enough for torch's CUDA, and CUDA_VISIBLE_DEVICES not empty. To try "
        "the script itself: --cpu-dry-run goes through every stage at tiny sizes and measures nothing"
    )


def facts(device: str) -> dict[str, Any]:
    """All that figures depend on beside the stage: the card, its driver, torch, this checkout."""
    found = {
        **provenance.hardware(device), "versions": provenance.versions(), "git": provenance.git_state(),
        "torch": torch.__version__, "cuda": torch.version.cuda,
    }  # fmt: skip
    if on_card(device):
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "driver": _driver(), "cudnn": torch.backends.cudnn.version(),
            "capability": f"{properties.major}.{properties.minor}", "processors": properties.multi_processor_count,
        }  # fmt: skip
    return found


def _driver() -> str | None:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0] if lines else None


def on_card(device: str) -> bool:
    """Whether a device is a CUDA card and not the CPU of a dry run."""
    return bool(torch.device(device).type == "cuda")


def seconds(call: Callable[[], object], device: str, most: int = 5, enough: float = 1.0) -> float:
    """Median seconds of a call that has been warmed up: as often as fills `enough` seconds, at most `most` times.

    On the CPU of a dry run once.
    """
    if not on_card(device):
        return _seconds_here(call)
    found: list[float] = []
    while len(found) < most and sum(found) < enough:
        found.append(_seconds_on_card(call))
    return median(found)


def _seconds_on_card(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


def _seconds_here(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def forget_peak(device: str) -> None:
    """From here on `peak_gib` counts."""
    if on_card(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: str) -> float | None:
    """Most memory (GiB) that tensors took on the card since `forget_peak`; None on a CPU."""
    return float(torch.cuda.max_memory_allocated(device)) / GIB if on_card(device) else None


def limit(precision: Precision, device: str, side: int) -> float:
    """TFLOP/s of one large matrix product in a precision: what this very card can do, whatever its name promises."""
    first, second = (torch.randn(side, side, device=device) for _ in range(2))
    if precision in ("bf16", "fp16"):  # given in it: the cast of every call is no part of the product
        kind = torch.bfloat16 if precision == "bf16" else torch.float16
        first, second = first.to(kind), second.to(kind)
    with torch.inference_mode(), computing(precision, device):
        for _ in range(3):
            first @ second
        return 2 * side**3 / seconds(lambda: first @ second, device, most=20, enough=0.3) / TERA
