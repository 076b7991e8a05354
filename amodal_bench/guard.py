"""The plugin boundary: what a dataset or a method raises becomes a text in a row, so one instance never ends a run."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from amodal_bench.errors import SharedMask
from amodal_bench.printable import printable

log = logging.getLogger(__name__)
T = TypeVar("T")
_LONGEST = 2000  # characters of a message that are kept


@dataclass(frozen=True, slots=True)
class Failure:
    """What a plugin raised, as one line, and the traceback.

    `memory`: it was for want of memory. `final`: a batch that fails so is not tried again in parts, since parts would
    hide what is wrong.
    """

    message: str
    trace: str = ""
    memory: bool = False
    final: bool = False


def guarded(call: Callable[[], T]) -> T | Failure:
    """What `call` returns, or the `Failure` that it raised.

    Not only `Exception`: a method that calls sys.exit, or native code with errors of its own, ends no run either.
    Ctrl-C, and what is treated as it, alone pass.
    """
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the one broad except of the project
        log.debug("a plugin failed", exc_info=True)
        return Failure(_told(error), _trace(error), _is_memory(error), isinstance(error, SharedMask))


def _told(error: BaseException) -> str:
    name, text = type(error).__name__, " ".join(_text(error).split())
    line = printable(f"{name}: {text}" if text else name)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _text(error: BaseException) -> str:
    """Its message, which is code of the plugin's too and may itself fail."""
    return str(traceback.TracebackException(type(error), error, None))


def _trace(error: BaseException) -> str:
    """The traceback from the plugin's code on, and the error as `_told` tells it."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return printable("".join(traceback.format_list(frames)), keep="\n") + _told(error) + "\n"


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, or a GPU's, whose error is a RuntimeError of that name or text."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in _told(error)
