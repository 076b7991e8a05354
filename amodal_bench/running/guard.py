"""The plugin boundary: what a dataset or a method raises becomes a text in a row, so one instance never ends a run."""

import inspect
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from amodal_bench.errors import SharedMask
from amodal_bench.files.package import PACKAGE
from amodal_bench.text.printable import printable

log = logging.getLogger(__name__)
T = TypeVar("T")
_PYTHON = Path(traceback.__file__).parent
_LONGEST = 2000  # characters of a message that are kept


@dataclass(frozen=True, slots=True)
class Failure:
    """What a plugin raised, as one line, the traceback, and where in the plugin's code it came from (FILE:LINE).

    `memory`: it was for want of memory. `final`: a batch that fails so is not tried again in parts, since parts would
    hide what is wrong.
    """

    message: str
    trace: str = ""
    line: str = ""
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
        frames = traceback.extract_tb(error.__traceback__)[1:]
        message = _told(error)
        trace = printable("".join(traceback.format_list(frames)), keep="\n") + message + "\n"
        return Failure(message, trace, _line_of(frames), _is_memory(error), isinstance(error, SharedMask))


def source_of(function: Callable[..., object]) -> str:
    """FILE:LINE of a function, for an answer that was found wrong after it returned."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return printable(f"{Path(code.co_filename).name}:{code.co_firstlineno}") if code else ""


def _told(error: BaseException) -> str:
    name, text = type(error).__name__, " ".join(_text(error).split())
    line = printable(f"{name}: {text}" if text else name)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _text(error: BaseException) -> str:
    """Its message, which is code of the plugin's too and may itself fail."""
    return str(traceback.TracebackException(type(error), error, None))


def _line_of(frames: Sequence[traceback.FrameSummary]) -> str:
    """The last line of a plugin's own code that was run; none where its answer was found wrong afterwards."""
    outside = [frame for frame in frames if not _in_core(Path(frame.filename))]
    inside = [frame for frame in outside if not _in_library(Path(frame.filename))] or outside
    return printable(f"{Path(inside[-1].filename).name}:{inside[-1].lineno}") if inside else ""


def _in_core(path: Path) -> bool:
    return path.is_relative_to(PACKAGE) and path.relative_to(PACKAGE).parts[0] not in ("methods", "datasets")


def _in_library(path: Path) -> bool:
    return "site-packages" in path.parts or path.is_relative_to(_PYTHON) or not path.is_absolute()


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, or a GPU's, whose error is a RuntimeError of that name or text."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in _told(error)
