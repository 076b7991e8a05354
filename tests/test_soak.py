"""The soak: its quick scenarios, each once, and that it sees what it looks for. `make soak` draws all of them.

What a command is at when it is struck depends on the machine; what is asserted holds wherever it is.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from crowds import end_well, started
from ground import Command, Ground, Violation, digests, heed_interrupts
from harms import PART, Skipped, copied, full_disk, read_only
from kills import Blow, struck
from record import Event, line, markdown
from scenarios import ROUND, SCENARIOS


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    heed_interrupts()
    ground = Ground(tmp_path / "ground", tmp_path / "ground" / "results")
    yield ground
    ground.close()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tables of an undisturbed run."""
    home = tmp_path_factory.mktemp("undisturbed")
    undisturbed = Ground(home, home / "results")
    undisturbed.start(pace=0.0).check_code((0,))
    return digests(undisturbed.folder)


def one_kill(ground: Ground, rng: Random) -> str:
    command = ground.start("--workers", "2")
    ground.wait_for(PART, command)
    struck(ground, command, Blow("KILL", "group"), rng)
    ground.complete()
    return ""


def crowd_of_four(ground: Ground, rng: Random) -> str:
    for command in started(ground, rng, 4, 1):
        end_well(ground, command)
    return ""


@pytest.mark.parametrize("scenario", [one_kill, crowd_of_four, full_disk, read_only, copied])
def test_nothing_is_lost(scenario: Callable[[Ground, Random], str], ground: Ground, wanted: dict[str, str]) -> None:
    try:
        scenario(ground, Random(1))
    except Skipped as lacking:
        pytest.skip(f"this machine lacks {lacking}")
    ground.check_end(wanted)


def test_every_scenario_has_its_turn() -> None:
    assert set(ROUND) == set(SCENARIOS)


# What the soak looks for is found.


def command(ground: Ground, code: str) -> Command:
    """A command that does what this Python code says."""
    ground.home.mkdir(exist_ok=True)
    log = ground.home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True)
    ground.commands.append(Command(process, log))
    return ground.commands[-1]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise SystemExit(1)", "exit code 1, expected one of \\[0\\]"),
        ("import os; os.kill(os.getpid(), 15)", "exit code 143, expected one of \\[0\\]"),
        ("print('Traceback (most recent call last)')", "a traceback, exit code 0"),
    ],
)
def test_a_false_end_is_a_violation(ground: Ground, code: str, text: str) -> None:
    with pytest.raises(Violation, match=text):
        command(ground, code).check_code((0,))


def test_a_process_that_stays_is_a_violation(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ground._AFTER", 0.1)
    left = command(ground, "import subprocess; subprocess.Popen(['sleep', '60'])")
    left.check_code((0,))
    with pytest.raises(Violation, match=r"still running 0.1 s after their command: \['sleep 60'\]"):
        left.check_no_orphans()
    assert left.workers() == []


def test_a_hanging_command_is_a_violation(ground: Ground) -> None:
    with pytest.raises(Violation, match=r"no end within 0\.1 s"):
        command(ground, "import time; time.sleep(60)").wait(0.1)


def test_lost_rows_false_codes_other_bytes_and_litter_are_violations(ground: Ground, wanted: dict[str, str]) -> None:
    done = ground.start(pace=0.0)
    assert done.check_code((0,)) == 0
    ground.check_true(done, 0)
    ground.check_end(wanted)
    with pytest.raises(Violation, match="exit code 1, but complete is True"):
        ground.check_true(done, 1)
    with pytest.raises(Violation, match="predictions differ from the undisturbed run's"):
        ground.check_end({**wanted, "predictions": ""})
    (ground.folder.path / "journal").mkdir()
    with pytest.raises(Violation, match=r"left in a complete run: \['journal'\]"):
        ground.check_end(wanted)
    assert ground.finished() == 120
    for path in ground.folder.path.glob("*.parquet"):
        path.unlink()
    with pytest.raises(Violation, match="0 finished rows where there were 120"):
        ground.finished()


def test_the_log_counts_what_was_done(ground: Ground) -> None:
    ended = command(ground, "raise SystemExit(1)")
    ended.blows.append("KILL")
    ended.wait()
    events = [
        Event(0, "kills", "broken", "exit code 1\nmore", (ended,), 2.0),
        Event(1, "crowd", "skipped", "no | disk", (), 0.1),
    ]
    text = markdown(events, seed=3, seconds=120)
    assert f"`make soak`, seed 3, 2 minutes on {os.cpu_count()} cores (Linux): **1 violation**." in text
    assert "- signals: KILL 1\n- exit codes: 1 1\n" in text
    assert "| 1 | crowd | skipped | 0 | 0 | no / disk |" in text
    assert line(events[0]) == "   0  broken  kills                 2 s  exit code 1\nmore"
