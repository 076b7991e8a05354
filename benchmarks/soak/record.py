"""What the soak tells: a line a scenario, and its log as Markdown."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ground import COUNT, Command

_SHOWN = 200  # lines of a broken promise that are printed


@dataclass(frozen=True, slots=True)
class Event:
    """One scenario: `outcome` is held, broken or skipped, `text` what was done, what broke or what is lacking."""

    number: int
    name: str
    outcome: str
    text: str
    commands: tuple[Command, ...]
    seconds: float


def line(event: Event) -> str:
    """One line, or as many as a broken promise needs."""
    text = "\n".join(event.text.splitlines()[:_SHOWN])
    return f"{event.number:4d}  {event.outcome:<8}{event.name:<18}{event.seconds:5.0f} s  {text}"


def markdown(events: Sequence[Event], seed: int, seconds: float) -> str:
    """Figures, then a table of all scenarios."""
    commands = [command for event in events for command in event.commands]
    blows = Counter(blow for command in commands for blow in command.blows)
    codes = Counter(command.code for command in commands)
    outcomes = Counter(event.outcome for event in events)
    crowds = sum(len(event.commands) for event in events if event.name.startswith("crowd"))
    lines = [
        "# The last soak",
        "",
        f"`make soak`, seed {seed}, {seconds / 60:.0f} minutes on {os.cpu_count()} cores ({platform.system()}): "
        f"**{_violations(outcomes['broken'])}**.",
        "",
        f"- scenarios: {len(events)}, of which {outcomes['skipped']} could not be had on this machine",
        f"- commands started: {len(commands)}, of which {crowds} in crowds of two to eight on one folder",
        f"- signals: {_counted(blows)}",
        f"- exit codes: {_counted({str(code): times for code, times in codes.items()})}",
        f"- a run: {COUNT} instances; after each scenario its tables are byte for byte those of an undisturbed run",
        "",
        "## Scenarios",
        "",
        "| | scenario | outcome | seconds | commands | what happened |",
        "|--:|---|---|--:|--:|---|",
    ]
    lines += [
        f"| {e.number} | {e.name} | {e.outcome} | {e.seconds:.0f} | {len(e.commands)} | {_first_line(e.text)} |"
        for e in events
    ]
    return "\n".join(lines) + "\n"


def _violations(number: int) -> str:
    return f"{number} violation{'' if number == 1 else 's'}"


def _counted(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(found.items())) or "none"


def _first_line(text: str) -> str:
    return text.splitlines()[0].replace("|", "/") if text else ""
