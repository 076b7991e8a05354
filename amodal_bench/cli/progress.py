"""Progress as a bar in a terminal, as plain lines elsewhere (Slurm logs, CI)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from amodal_bench.cli.console import PlainConsole, plain
from amodal_bench.plugin import Monitor
from amodal_bench.progress import Reporter, Silent

_EVERY = 30.0  # seconds between the lines of a training's log


def make_console() -> PlainConsole:
    """Standard output; where that is no terminal (a log, a pipe), wide enough that tables keep their lines."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=160)


class Field(ProgressColumn):
    """A field of a task, as it is: rich's TextColumn would read it as markup."""

    def __init__(self, name: str, style: str = "") -> None:
        super().__init__()
        self._name, self._style = name, style

    def render(self, task: Task) -> Text:
        """The field's text now."""
        return plain((task.fields[self._name], self._style))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class _Bar:
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, title=title, failed="")
        self._failed = 0

    def announce(self, total: int, done: int) -> None:
        self._progress.reset(self._task, total=total, completed=done)

    def advance(self, finished: int, failed: int) -> None:
        self._failed += failed
        text = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=finished, failed=text)


class _Lines:
    """A line at most every ten seconds."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._total = self._before = self._done = self._failed = 0
        self._started = self._said = time.monotonic()

    def announce(self, total: int, done: int) -> None:
        self._total, self._before, self._done = total, done, done
        again = f" ({done} on disk)" if done else ""
        self._console.print(f"{self._title}: {total} instances{again}")

    def advance(self, finished: int, failed: int) -> None:
        self._done += finished
        self._failed += failed
        now = time.monotonic()
        if now - self._said < 10 and self._done < self._total:
            return
        self._said = now
        rate = (self._done - self._before) / max(1e-9, now - self._started)
        left = (self._total - self._done) / rate if rate else 0.0
        failures = f", {self._failed} failed" if self._failed else ""
        self._console.print(
            f"{self._title}: {self._done}/{self._total}, {rate:.1f}/s, {_duration(left)} left{failures}"
        )


@contextmanager
def reporter(console: Console, title: str, quiet: bool = False) -> Iterator[Reporter]:
    """A bar on a terminal, lines elsewhere, nothing if `quiet`."""
    if quiet:
        yield Silent()
    elif console.is_terminal:
        columns = (
            Field("title"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
            Field("failed", "red"),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True) as progress:
            yield _Bar(progress, title)
    else:
        yield _Lines(console, title)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Unheard:
    def step(self, done: int, total: int, text: str) -> None:
        """Only the first process speaks."""

    def note(self, text: str) -> None:
        """Only the first process speaks."""


class _StepLines:
    def __init__(self, out: PlainConsole, title: str) -> None:
        self._out, self._title, self._said = out, title, 0.0

    def step(self, done: int, total: int, text: str) -> None:
        """A line at most every half minute."""
        if time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            self.note(f"{done}/{total} steps, {text}")

    def note(self, text: str) -> None:
        """A line."""
        self._out.print(f"{self._title}: {text}", soft_wrap=True)


class _StepBar:
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, title=title, text="")

    def step(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total, text=text)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text)


@contextmanager
def monitor(console: PlainConsole, title: str, first: bool) -> Iterator[Monitor]:
    """A bar on a terminal, lines elsewhere, nothing in all processes but the first."""
    if not first:
        yield _Unheard()
    elif console.is_terminal:
        columns = (Field("title"), BarColumn(), MofNCompleteColumn(), Field("text"))
        with Progress(*columns, console=console) as progress:
            yield _StepBar(progress, title)
    else:
        yield _StepLines(console, title)
