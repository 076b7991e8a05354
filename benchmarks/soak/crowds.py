"""Several commands at once on one folder."""

import time
from collections.abc import Sequence
from random import Random

from ground import Command, Ground, Violation, is_refusal
from kills import Blow, struck, watch

CROWDS = (2, 4, 8)


def crowd(ground: Ground, rng: Random) -> str:
    """Two, four or eight commands start within a few seconds: every one ends with 0, of a complete run."""
    size, workers = rng.choice(CROWDS), rng.choice((1, 2))
    commands = started(ground, rng, size, workers)
    for command in commands:
        end_well(ground, command)
    ground.finished()
    return f"{size} commands at once, workers {workers}"


def crowd_under_fire(ground: Ground, rng: Random) -> str:
    """The same, but some are struck: the others end with 0 for all that."""
    size, workers = rng.choice(CROWDS[:2]), rng.choice((1, 2))
    commands = started(ground, rng, size, workers)
    victims, told = rng.sample(commands, size // 2), []
    for victim in victims:
        time.sleep(rng.uniform(0, 2.5))
        ground.finished()
        blow = Blow(rng.choice(("KILL", "TERM", "INT", "HUP", "STOP, CONT")), rng.choice(("command", "group")))
        blow.strike(victim, rng)
        told.append(str(blow))
    for command in commands:
        end_well(ground, command)
    ground.complete()
    return f"{size} commands at once, workers {workers}; {', '.join(told)}"


def crowd_with_fresh(ground: Ground, rng: Random) -> str:
    """One of them has --fresh: it is refused, or deletes what nobody is at. No command ends with a traceback."""
    size = rng.choice(CROWDS[:2])
    ordinary = started(ground, rng, size, 1)
    time.sleep(rng.uniform(0, 4))
    fresh = ground.start("--fresh")
    for command in (*ordinary, fresh):
        code = command.check_code((0, 2))
        command.check_no_orphans()
        if code == 2 and not is_refusal(command):
            raise Violation(f"exit code 2 without a word\n{command.said}")
    ground.complete()
    return f"{size} commands and one with --fresh, which ended with {fresh.code}"


def outside_workers(ground: Ground, rng: Random) -> str:
    """`worker` commands join a run that `bench` is at, and stay when it ends."""
    command = ground.start()
    ground.wait_for("run.json", command)
    workers = [ground.start_worker(f"{number}/2") for number in range(2)]
    if rng.random() < 0.5:
        watch(ground, command, rng.uniform(0, 3))
        struck(ground, command, Blow("TERM", "command"), rng)
    for each in (command, *workers):
        each.check_code((0,))
        each.check_no_orphans()
    ground.finished()
    ground.complete()
    return "bench and two workers" + (", bench was ended" if command.sent else "")


def started(ground: Ground, rng: Random, size: int, workers: int) -> Sequence[Command]:
    """So many commands, each up to a second after the one before."""
    commands = []
    for _ in range(size):
        commands.append(ground.start("--workers", str(workers)))
        time.sleep(rng.uniform(0, 1))
    return commands


def end_well(ground: Ground, command: Command) -> None:
    """It ends with 0 of a complete run, or by the signal that it was sent."""
    code = command.check_code((0,))
    command.check_no_orphans()
    if code == 0:
        ground.check_true(command, code)
