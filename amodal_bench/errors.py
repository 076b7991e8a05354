"""What can go wrong on purpose: each error says what was given, what was expected, where, and the way out."""

import difflib
from collections.abc import Iterable


class Refused(Exception):
    """What was asked cannot be done, and nothing was written. The command line exits with 2."""


class UnknownName(Refused, LookupError):
    """No plugin, preset, protocol, split or parameter has that name."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {what} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


class DatasetNotReady(Refused):
    """The files of a dataset are not where they were looked for, or cannot be read."""


class WeightsNotFound(Refused):
    """Weights that a method needs are not on this machine; `missing` names the pretrained models among them."""

    def __init__(self, message: str, missing: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class BadRecord(ValueError):
    """One annotation, mask or image is malformed; the message names the file and the record."""


class SharedMask(ValueError):
    """A method answered two queries with one array: what it held for the first is gone, and neither is believed."""


class RunDamaged(Refused):
    """A run folder holds something that a run of this version cannot have written."""


class RunNewer(RunDamaged):
    """A run folder was written by a later version, which may hold what this one cannot read."""


class Incomplete(RuntimeError):
    """A run ended before all that was asked for had a row; what is finished is kept. The command line exits with 1."""


class RunUnfinished(Refused):
    """A run has no table of its instances yet: it is at work, or was stopped before the first one was written."""


class TrainingStopped(RuntimeError):
    """A training cannot go on; its last good checkpoint is kept."""
