"""Where a run came from: code, versions, hardware."""

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from amodal_bench.errors import Refused
from amodal_bench.files.package import PACKAGE

_PACKAGES = (
    "amodal-bench", "numpy", "pandas", "pyarrow", "pycocotools", "pillow", "scipy", "torch", "torchvision", "timm",
    "diffusers", "transformers", "accelerate", "segment-anything", "opencv-python-headless", "safetensors",
    "bitsandbytes",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Installed versions of Python and of what can change a number; nothing is imported."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            facts = distribution(name).read_text("METADATA") or ""
        except PackageNotFoundError:
            continue
        # The library's own `version` parses the whole file, a long description included: milliseconds a package.
        line = re.search(r"^Version: *(\S+)", facts, re.MULTILINE)
        found[name] = line[1] if line else "unknown"
    return found


def git_state(folder: Path = PACKAGE) -> dict[str, Any] | None:
    """Commit of this checkout and whether it has uncommitted changes; None outside a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = _git(folder, "ls-files", "--error-unmatch", str(PACKAGE / "__init__.py"))
    if commit is None or tracked is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def hardware(device: str) -> dict[str, Any]:
    """CPU, cores and, for a CUDA device, the name and memory of the GPU."""
    found: dict[str, Any] = {"cpu": _cpu_name(), "cores": os.cpu_count(), "system": platform.platform()}
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory": properties.total_memory}
    return found


def peak_memory_mb(device: str) -> float | None:
    """Most memory (MB, 2^20 bytes) that this process or a finished worker held; on CUDA the GPU's, of this process.

    None where the system does not tell.
    """
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return float(most) / (2**20 if sys.platform == "darwin" else 2**10)


def device_kind(device: str) -> str:
    """What equal bytes are promised on: `cpu`, or the GPU's name."""
    return str(hardware(device)["gpu"]) if device.startswith("cuda") else "cpu"


def choose_device(flag: str, needs: tuple[str, ...]) -> str:
    """Resolve `auto` (the GPU if the method uses torch and there is one); raises `Refused` for a missing GPU."""
    kind, _, number = flag.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise Refused(f"--device takes auto, cpu, cuda or cuda:N, got {flag!r}")
    if kind == "cpu" or "torch" not in needs:
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda" if kind == "auto" else flag
    if kind == "cuda":
        raise Refused(f"--device {flag}: torch sees no CUDA device here (torch {torch.__version__})")
    return "cpu"


def command_line() -> list[str]:
    """The program's name and arguments, without the folder it lies in."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
