"""Where every annotation went: into the evaluation, or out of it under a named reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Fault(NamedTuple):
    """Something wrong with one annotation or image: its id, a kind that is counted, and the particulars."""

    id: str
    kind: str
    detail: str


@dataclass(slots=True)
class Funnel:
    """Counts of annotations read, kept and dropped, and notes on kept ones that are odd but usable."""

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str, count: int = 1) -> None:
        """Leave `count` annotations out because of `reason`."""
        self.dropped[reason] += count

    def note(self, what: str, count: int = 1) -> None:
        """Keep `count` annotations although `what` holds of them."""
        self.noted[what] += count

    @property
    def kept(self) -> int:
        """Annotations that became instances."""
        return self.read - self.dropped.total()

    def as_dict(self) -> dict[str, object]:
        """For run.json: {read, kept, dropped: {reason: n}, noted: {what: n}}."""
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": {name: n for name, n in sorted(self.dropped.items()) if n},
            "noted": {name: n for name, n in sorted(self.noted.items()) if n},
        }
