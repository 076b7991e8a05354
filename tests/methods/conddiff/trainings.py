"""A process of torchrun in which one training follows the other, each in a fork: starting and importing is paid once.

    torchrun --nproc-per-node 2 trainings.py FILE

The file is a JSON list of trainings: `words` for amodal-bench; `until`, the file at whose appearance all processes of
the training are killed, or null; `alone`, whether the first process trains by itself.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import timm  # noqa: F401
import torch._dynamo  # noqa: F401  (as the first step of an optimiser does)
from torch.distributed import TCPStore

import amodal_bench.methods.conddiff.train  # noqa: F401
from amodal_bench.cli import main, train  # noqa: F401
from amodal_bench.running import ranks


def stores(count: int) -> Iterator[TCPStore]:
    """A store for each training, where its processes meet; torchrun too has a new one for every start."""
    address, meeting = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    shared = TCPStore(address, meeting, is_master=False)
    for number in range(count):
        if ranks.is_first():
            store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
            shared.set(f"training {number}", str(store.port))
            yield store
        else:
            yield TCPStore(address, int(shared.get(f"training {number}")), is_master=False)


def become(words: list[str], port: int, alone: bool) -> NoReturn:
    """Be this process's part of the training, and end."""
    os.environ["MASTER_PORT"] = str(port)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE") if alone else ():
        del os.environ[name]
    sys.argv = ["amodal-bench", *words]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def code_of(process: int, until: Path | None) -> int:
    """Exit code of a process, which is killed once the file exists."""
    while until and not until.exists():
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    if until:
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run(training: dict[str, Any], port: int) -> None:
    """One training, which must end as it is meant to."""
    until = training["until"] and Path(training["until"])
    process = os.fork()
    if not process:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        become(training["words"], port, training["alone"])
    try:
        code = code_of(process, until)
    except SystemExit:
        os.kill(process, signal.SIGKILL)
        raise
    if bool(code) != bool(until):
        sys.exit(f"ended with {code}: {training}")
    if until and (until.parents[1] / "model.safetensors").exists():
        sys.exit(f"over before it was killed: {training}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by torchrun, where the other process failed
    trainings = json.loads(Path(sys.argv[1]).read_text())
    for training, store in zip(trainings, stores(len(trainings)), strict=True):
        if ranks.is_first() or not training["alone"]:
            run(training, store.port)
