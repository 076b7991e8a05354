"""The soak: commands on run folders are killed, crowded and starved until the time is up, and nothing may be lost.

    python benchmarks/soak [--minutes 15] [--seed 0] [--only SCENARIO] [--write FILE]

Each scenario runs the real command line in a folder of its own. In all of them the number of finished rows never
goes down, exit codes are true, no process stays behind, and the run can be completed to the bytes of an undisturbed
one, with nothing left beside it. Ends with 1 where any of it did not hold. What is drawn depends on the seed alone;
what a command is at when a signal meets it, on the machine too.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from ground import Ground, Violation, digests, heed_interrupts
from harms import Skipped
from record import Event, line, markdown
from scenarios import ROUND, SCENARIOS

from amodal_bench.errors import Refused

_LAST = 60.0  # seconds before the end in which no scenario begins any more


def run(number: int, name: str, seed: int, folder: Path, wanted: dict[str, str]) -> Event:
    """One scenario, in a folder that is deleted unless a promise was broken."""
    ground = Ground(folder, folder / "results")
    started, text, outcome = time.monotonic(), "", "held"
    try:
        text = SCENARIOS[name](ground, Random(f"{seed}/{number}"), wanted)
    except Skipped as reason:
        text, outcome = str(reason), "skipped"
    except (Violation, Refused) as error:
        text, outcome = str(error), "broken"
    finally:
        ground.close()
    if outcome != "broken":
        shutil.rmtree(folder)
    return Event(number, name, outcome, text, tuple(ground.commands), time.monotonic() - started)


def soak(given: argparse.Namespace, folder: Path) -> Iterator[Event]:
    """Scenarios one after the other until the time is up or enough were run, in so many lanes at once."""
    end = time.monotonic() + 60 * given.minutes
    reference = Ground(folder / "reference", folder / "reference" / "results")
    reference.complete()
    wanted = digests(reference.folder)
    names = itertools.cycle([given.only] if given.only else ROUND)
    turns = enumerate(itertools.islice(names, given.most))

    def lane() -> list[Event]:
        events = []
        while time.monotonic() < end - _LAST and (turn := next(turns, None)):
            events.append(run(*turn, given.seed, folder / f"{turn[0]:03d}", wanted))
            print(line(events[-1]), flush=True)
        return events

    with ThreadPoolExecutor(given.lanes) as pool:
        for events in pool.map(lambda _: lane(), range(given.lanes)):
            yield from events


def main() -> int:
    """Soak, tell, and write what was told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(SCENARIOS))
    parser.add_argument("--most", type=int, help="no more scenarios than so many")
    parser.add_argument("--lanes", type=int, default=2, help="scenarios at once")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the log there, as Markdown")
    given = parser.parse_args()
    heed_interrupts()
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    events = sorted(soak(given, folder), key=lambda event: event.number)
    broken = [event for event in events if event.outcome == "broken"]
    text = markdown(events, given.seed, time.monotonic() - started)
    if given.write:
        given.write.write_text(text)
    print(text.partition("## ")[0])
    if broken:
        print(f"broken: {len(broken)} of {len(events)}; their folders are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
