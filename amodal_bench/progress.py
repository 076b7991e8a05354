"""What a loop over instances tells while it works; the command line draws it."""

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
