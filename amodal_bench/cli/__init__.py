"""The command line: a thin layer over the library. Exit codes: 0 done, 1 rows failed or missing, 2 refused."""

import functools
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec

import pyarrow as pa
import typer

from amodal_bench.cli.console import PlainConsole
from amodal_bench.errors import Incomplete, Refused
from amodal_bench.text import streams
from amodal_bench.text.printable import indented

P = ParamSpec("P")
# What typer raises for a command line that it cannot read: click's, which it depends on or has inside.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_OWN, _LIBRARY = Path(__file__).parent, Path(sysconfig.get_path("stdlib"))

_COMMANDS = {  # name -> MODULE:FUNCTION here; a command's module is imported when the command is given
    "list": "catalogue:list_",
    "doctor": "doctor:doctor",
    "bench": "bench:bench",
    "score": "score:score",
    "verify": "verify:verify",
    "measure": "measure:measure",
    "worker": "bench:worker",
    "train": "train:train",
    "export": "export:export_",
    "report": "report:report",
    "figure": "figure:figure",
    "tables": "tables:tables",
    "table": "tables:table",
    "compare": "compare:compare_",
    "audit": "audit:audit",
    "export-run": "export_run:export_run",
}


def application(names: Iterable[str] = tuple(_COMMANDS)) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        name="amodal-bench",
        help="Every amodal-segmentation method on every amodal dataset under every published protocol.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # rich would take `[default: results]` and `M[,M]` for markup and leave them out
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing)  # without one, a single command would lose its name
    for name in names:
        module, _, function = _COMMANDS[name].partition(":")
        command: Callable[..., None] = getattr(import_module(f"{__name__}.{module}"), function)
        # The whole first paragraph: what is not given is cut after 45 characters.
        app.command(name, short_help=(command.__doc__ or "").partition("\n\n")[0])(_guarded(command))
    return app


def _nothing() -> None:
    pass


def _guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command, which no plugin can end: not by sys.exit, whatever its code, nor by what typer ends quietly at."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (SystemExit, typer.Exit) as end:
            if isinstance(end, typer.Exit) and _locations(end)[-1][0].is_relative_to(_OWN):
                raise
            raise Refused(_asked_to_end(end)) from end
        except BrokenPipeError as error:  # never standard output's: see streams
            raise Refused(_failed(error)) from error

    return run


def main() -> None:
    """Entry point of `amodal-bench`."""
    streams.guard()
    _give_memory_back()
    code = _run()
    lost = streams.lost_output()
    if lost:
        _say(f"amodal-bench: standard output is not whole, it could not be written: {lost.strerror}")
        code = code or 1
    sys.exit(code)


def _give_memory_back() -> None:
    """Arrow's default pool keeps what it was given: a run of a million instances would hold a quarter more."""
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _run() -> int:
    """The exit code; an unexpected exception passes, with its traceback."""
    try:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        app = application([command] if command in _COMMANDS else _COMMANDS)
        return typer.main.get_command(app).main(standalone_mode=False) or 0
    except UsageError as error:
        return _misused(error)
    except (Refused, Incomplete) as error:
        _say(f"amodal-bench: {error}")
        return 2 if isinstance(error, Refused) else 1
    except OSError as error:
        _say(f"amodal-bench: {_failed(error)}")
        return 2


def _say(text: str) -> None:
    """A message on standard error, its further lines moved in."""
    PlainConsole(stderr=True).print(*indented(text).split("\n"), sep="\n", soft_wrap=True)


def _failed(error: OSError) -> str:
    return f"cannot read or write {error.filename}: {error.strerror}" if error.filename else str(error)


def _misused(error: Any) -> int:
    """Tell what is wrong with the command line, or show the help where it is empty."""
    context, message = getattr(error, "ctx", None), error.format_message()
    if context and message == context.get_help():
        PlainConsole(stderr=True).print(*message.split("\n"), sep="\n", soft_wrap=True)
    elif message:
        usage = f"\n{context.get_usage()}\nTry '{context.command_path} --help' for help." if context else ""
        _say(f"amodal-bench: {message}{usage}")
    return 2


def _asked_to_end(end: SystemExit | typer.Exit) -> str:
    """Names the innermost place outside Python's own library, which holds `exit` and argparse."""
    code = end.exit_code if isinstance(end, typer.Exit) else end.code
    file, line = [location for location in _locations(end) if not _in_library(location[0])][-1]
    return (
        f"a plugin asked to end the process with {code!r} ({file}, line {line}): that is refused, since it would "
        "pass for the end of the command; let the plugin raise an error that says what is wrong"
    )


def _in_library(file: Path) -> bool:
    return file.name.startswith("<") or (file.is_relative_to(_LIBRARY) and "site-packages" not in file.parts)


def _locations(end: BaseException) -> list[tuple[Path, int | None]]:
    """Files and lines that an exception came through, the innermost last."""
    return [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(end.__traceback__)]
