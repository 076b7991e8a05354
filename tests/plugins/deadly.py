"""A method that takes its process with it, or tries to, at one image; or breaks the rules of a method in other ways."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from amodal_bench.plugin import Method, MethodCard, Runtime, Settings
from amodal_bench.types import AmodalQuery, Mask


class MuteError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class NativeError(BaseException):
    """As native code raises: no Exception."""


class DeadlyParams(Settings):
    """What happens, and at which image, or at which of its instances: IMAGE/ANN."""

    how: Literal[
        "segv", "kill", "exit", "hang", "sysexit", "mute", "native", "surrogate", "escape", "load sysexit", "load exit",
        "load raises", "in place", "through native code", "one buffer", "memory", "pool", "nothing",
    ] = "nothing"  # fmt: skip
    image: str = "03"
    notes: str = ""


class Deadly(Method[DeadlyParams]):
    """The visible mask, but for what happens. `notes` is a file that gets a line for every call of predict."""

    card = MethodCard(title="Deadly", licence="Apache-2.0", batch_size=4)
    Params = DeadlyParams

    def load(self, runtime: Runtime) -> None:
        """Some do not get beyond this, by their parameters or, as where weights are lost, by the environment."""
        if "DEADLY_LOAD" in os.environ:
            raise RuntimeError("no weights today")
        match self.params.how:
            case "load sysexit":
                sys.exit(0)
            case "load exit":
                os._exit(0)
            case "load raises":
                raise RuntimeError("no weights like that")
        self.buffer: Mask | None = None

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Any]:
        """Visible masks of their own, or not."""
        if self.params.notes:
            with Path(self.params.notes).open("a") as file:
                file.write(f"{len(queries)} {queries[0].id}\n")
        how = self.params.how
        if how == "memory" and len(queries) > 1:
            raise RuntimeError(f"CUDA out of memory. Tried to allocate {len(queries)} GiB")
        if any(f"/{self.params.image}/" in f"{query.id}/" for query in queries) and "DEADLY_CURED" not in os.environ:
            _happen(how)
        if how == "one buffer":
            return [self._in_buffer(query) for query in queries]
        return [self._answer(query) for query in queries]

    def _in_buffer(self, query: AmodalQuery) -> Mask:
        self.buffer = query.visible.copy() if self.buffer is None else self.buffer
        self.buffer[:] = query.visible
        return self.buffer

    def _answer(self, query: AmodalQuery) -> Mask:
        match self.params.how:
            case "in place":
                query.visible[:] = True
                return query.visible
            case "through native code":
                ctypes.memset(query.visible.ctypes.data, 1, query.visible.size)
                ctypes.memset(query.image.ctypes.data, 0, query.image.size)
                return query.visible
        return query.visible.copy()


def _happen(how: str) -> None:
    match how:
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(0)
        case "hang":
            time.sleep(600)
        case "sysexit":
            sys.exit(0)
        case "mute":
            raise MuteError
        case "native":
            raise NativeError("panicked at src/lib.rs")
        case "surrogate":
            raise ValueError("no file \udcff here")
        case "escape":
            raise ValueError("\x1b[31mred")
        case "pool":
            with get_context("fork").Pool(2) as pool:
                pool.map(np.sqrt, range(4))
