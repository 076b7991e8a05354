"""What a loop over instances, or a training, tells while it works; the command line draws it."""

from typing import Protocol


class Reporter(Protocol):
    """Hears of progress, in instances."""

    def announce(self, total: int, done: int) -> None:
        """So many were asked for, so many of them are on disk already."""

    def advance(self, finished: int, failed: int) -> None:
        """So many more are done with since the last call; so many of those failed."""


class Silent:
    """A reporter that says nothing."""

    def announce(self, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, finished: int, failed: int) -> None:
        """Nothing."""


class Monitor(Protocol):
    """What a training tells while it works; the command line draws it."""

    def step(self, done: int, total: int, text: str) -> None:
        """So many of all steps are done; `text` holds loss, rate, time left."""

    def note(self, text: str) -> None:
        """A line that stays: the end of an epoch, a validation score."""
