"""The command line of benchmarks/gpu.py. A method's stages are a function in a module of its own."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from card import facts, find_card
from stages import Record, Stage

from amodal_bench.errors import Refused

# What can be measured -> the module beside this one whose `stages(device, dry)` says how.
METHODS = {"conddiff": "conddiff_card", "inpaint": "inpaint_card"}
MINUTES = 4.0


def main(arguments: Sequence[str]) -> int:
    """Measure, and tell what is left; 1 where a stage failed, 2 where nothing can be measured."""
    given = _parser().parse_args(arguments)
    try:
        device = find_card(given.cpu_dry_run)
        record = Record(given.out or Path(f"gpu-{given.method}.json"), {**facts(device), "dry": given.cpu_dry_run})
        taken = _chosen(_stages_of(given.method)(device, given.cpu_dry_run), given.only)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    left = record.take(taken, given.minutes, lambda line: print(line, flush=True))
    failed = [name for name in left if name in record.stages]
    if left:
        print(f"{len(left)} of {len(taken)} stages are left, {len(failed)} of them failed: the same command goes on")
    return 1 if failed else 0


def _stages_of(method: str) -> Callable[[str, bool], list[Stage]]:
    found: Callable[[str, bool], list[Stage]] = import_module(METHODS[method]).stages
    return found


def _chosen(stages: list[Stage], only: Sequence[str] | None) -> list[Stage]:
    """The stages whose names begin as asked; raises `Refused` for what none does."""
    unknown = [start for start in only or () if not any(stage.name.startswith(start) for stage in stages)]
    if unknown:
        known = ", ".join(stage.name for stage in stages)
        raise Refused(f"--only {' '.join(unknown)}: no stage begins so. Stages: {known}")
    return [stage for stage in stages if not only or stage.name.startswith(tuple(only))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu.py", description="Measure a method on a CUDA card.")
    parser.add_argument("method", choices=sorted(METHODS))
    parser.add_argument("--out", type=Path, metavar="FILE", help="where figures are kept [gpu-METHOD.json]")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of one call [{MINUTES:g}]")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="stages whose names begin so")
    parser.add_argument("--cpu-dry-run", action="store_true", help="tiny sizes on the CPU: tries the script itself")
    return parser
