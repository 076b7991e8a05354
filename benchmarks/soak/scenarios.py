"""What the soak runs: every scenario by name, and a round of all of them."""

from collections.abc import Callable
from random import Random

import crowds
import harms
import kills
from ground import Ground

Scenario = Callable[[Ground, Random], str]
Checked = Callable[[Ground, Random, dict[str, str]], str]


def alike(scenario: Scenario) -> Checked:
    """A scenario whose run must end with the wanted bytes."""

    def checked(ground: Ground, rng: Random, wanted: dict[str, str]) -> str:
        told = scenario(ground, rng)
        ground.check_end(wanted)
        return told

    return checked


def by_itself(scenario: Scenario) -> Checked:
    """A scenario of other runs, which compares their bytes itself."""
    return lambda ground, rng, _: scenario(ground, rng)


SCENARIOS: dict[str, Checked] = {
    "kills": alike(kills.kills),
    "barrage": alike(kills.barrage),
    "crowd": alike(crowds.crowd),
    "crowd under fire": alike(crowds.crowd_under_fire),
    "crowd with fresh": alike(crowds.crowd_with_fresh),
    "outside workers": alike(crowds.outside_workers),
    "full disk": alike(harms.full_disk),
    "read-only": alike(harms.read_only),
    "copied": alike(harms.copied),
    "clock set back": alike(harms.clock_set_back),
    "edited": alike(harms.edited),
    "data changed": by_itself(harms.data_changed),
    "poison": by_itself(harms.poison),
}
# Kills and crowds come again after every two of the others.
_OTHERS = [name for name in SCENARIOS if name not in ("kills", "crowd")]
ROUND = [name for k in range(0, len(_OTHERS), 2) for name in ("kills", "crowd", *_OTHERS[k : k + 2])]
