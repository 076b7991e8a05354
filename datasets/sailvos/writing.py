"""What the layouts of SAIL-VOS share: objects have numbers, which follow them through a scene."""

from collections.abc import Sequence

from amodal_bench.types import parse_id


class ObjectNumbers:
    """The annotation part of an id where all of them are whole numbers, else counted from 1 in each scene."""

    def __init__(self, ids: Sequence[str]) -> None:
        names = {parse_id(id).annotation for id in ids}
        # Written the shortest way, so that different names are different numbers.
        self._own = all(name.isdecimal() and str(int(name)) == name and int(name) < 2**31 for name in names)
        self._given: dict[str, dict[str, int]] = {}

    def number(self, scene: str, name: str) -> int:
        """The number of an object."""
        if self._own:
            return int(name)
        known = self._given.setdefault(scene, {})
        return known.setdefault(name, len(known) + 1)
