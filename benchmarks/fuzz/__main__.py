"""Damage small datasets of every layout, open them, and report whatever is not told by an error of the project.

    PYTHONPATH=. python -m benchmarks.fuzz [--minutes M] [--seed N] [--only LAYOUT] [--case K] [--out DIR]

Cases run in processes of their own with limits for each: 5 s of processor time, so that a busy machine is no failure,
and 1 GiB. The damage follows from seed, layout and number; `--case` repeats one. A finding is one line, and the
damaged files are kept in DIR/LAYOUT-CASE.
"""

import argparse
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct, json

from amodal_bench.resolve.registry import Registry
from benchmarks.fuzz.damage import damage
from benchmarks.fuzz.probe import probe
from benchmarks.fuzz.sets import Sample, samples

SECONDS, MEMORY = 5, 1 << 30  # of processor, bytes: more is a finding
ADDRESSES = 4 << 30  # bytes, so that no case takes the machine
PATIENCE = 300.0  # seconds; a process that lives longer hangs
BATCH = 40  # cases a process


class Result(Struct):
    """What became of a case: seconds of processor time, its process's peak in bytes, findings."""

    seconds: float
    memory: int
    found: list[str]
    damage: list[str] = []


@dataclass
class FuzzTally:
    """What is known of a layout's cases."""

    cases: int = 0
    slowest: float = 0
    memory: int = 0
    findings: Counter[str] = field(default_factory=Counter)


def apart(call: Callable[[], None], said: Path) -> int:
    """Run something in a forked process; the status as of `os.waitpid`. What it prints goes to the file `said`."""
    child = os.fork()
    if not child:
        with said.open("w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            call()
            os._exit(0)
        finally:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    end = time.monotonic() + PATIENCE
    pid, status = os.waitpid(child, os.WNOHANG)
    while not pid:
        time.sleep(0.01)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        pid, status = os.waitpid(child, os.WNOHANG)
    return status


def run_cases(sample: Sample, template: Path, cases: Iterable[tuple[Path, str]]) -> None:
    """Damage copies of the template, and write what was found into FOLDER/result.json of each."""
    for case, seed in cases:
        before = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(before) + SECONDS + 1, resource.RLIM_INFINITY))
        os.environ["AMODAL_BENCH_CACHE"] = str(case / "cache")
        root = case / "data"
        shutil.copytree(template, root)
        told = damage(root, random.Random(seed))
        (case / "damage.json").write_bytes(json.encode(told))
        start = time.process_time()
        found = list(probe(sample, root))
        seconds = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        found += [f"slow: {seconds:.1f} s of processor time"] if seconds > SECONDS else []
        found += [f"memory: {memory >> 20} MiB"] if memory > MEMORY else []
        (case / "result.json").write_bytes(json.encode(Result(seconds, memory, found, told)))
        if memory > MEMORY:  # the peak stays: the next case begins in a new process
            return


def lost(case: Path, status: int, said: Path) -> Result:
    """The result of a case in which the process ended."""
    told = json.decode((case / "damage.json").read_bytes(), type=list[str]) if (case / "damage.json").exists() else []
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Result(SECONDS, 0, [f"ended by {name}"], told)
    return Result(0, 0, [f"ended: {said.read_text(errors='replace').strip()[-600:]}"], told)


@dataclass(frozen=True)
class Fuzz:
    """One run: where it works, where findings are kept."""

    work: Path
    out: Path
    seed: int

    def prepare(self, layout: str, sample: Sample) -> None:
        """Write the valid dataset of a layout, and see that it opens."""
        Registry().dataset(sample.dataset)  # imported before the forks
        template = self.work / "templates" / layout
        template.mkdir(parents=True)
        if apart(lambda: sample.check(template), self.work / "said"):
            raise SystemExit(f"{layout}: no valid one could be made: {(self.work / 'said').read_text()}")

    def batch(self, layout: str, sample: Sample, numbers: range) -> Iterator[tuple[int, Result]]:
        """Results by number; those after the first that ended its process are not there."""
        folder, said = self.work / "cases", self.work / "said"
        cases = [(folder / f"{layout}-{number}", f"{self.seed}/{layout}/{number}") for number in numbers]
        for case, _ in cases:
            case.mkdir(parents=True)
        status = apart(lambda: run_cases(sample, self.work / "templates" / layout, cases), said)
        for number, (case, _) in zip(numbers, cases, strict=True):
            if (case / "result.json").exists():
                yield number, json.decode((case / "result.json").read_bytes(), type=Result)
            else:
                yield number, lost(case, status, said)
                break
        shutil.rmtree(folder)

    def note(self, layout: str, number: int, result: Result, tally: FuzzTally) -> None:
        """Count a case, and print and keep it where it is the first of its kind."""
        tally.cases += 1
        tally.slowest, tally.memory = max(tally.slowest, result.seconds), max(tally.memory, result.memory)
        for text in result.found:
            line, _, trace = text.partition("\n")
            kind = ": ".join(line.split(": ")[:2])[:60] + line.rpartition("[")[2]
            tally.findings[kind] += 1
            if tally.findings[kind] == 1:
                print(f"{layout} case {number}: {line} <- {'; '.join(result.damage)}", flush=True)
                case = f"{layout}-{number}"
                kept = self.out / case
                shutil.copytree(self.work / "cases" / case, kept, symlinks=True, dirs_exist_ok=True)
                (kept / "finding.txt").write_text(f"{line}\n{trace}")


def report(tallies: dict[str, FuzzTally]) -> int:
    """The table at the end; how many kinds of findings there are."""
    print(f"{'layout':18} {'cases':>6} {'slowest, s':>10} {'peak, MiB':>9} {'findings':>8}")
    for layout, tally in tallies.items():
        print(f"{layout:18} {tally.cases:6} {tally.slowest:10.2f} {tally.memory >> 20:9} {len(tally.findings):8}")
    found = sum(len(tally.findings) for tally in tallies.values())
    print(f"{sum(tally.cases for tally in tallies.values())} cases, {found} kinds of findings")
    return found


def main() -> int:
    """Go round the layouts until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="LAYOUT")
    parser.add_argument("--case", type=int)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    asked = parser.parse_args()
    known = samples()
    chosen = {name: known[name] for name in asked.only or sorted(known)}
    tallies = {name: FuzzTally() for name in chosen}
    following = dict.fromkeys(chosen, asked.case or 0)
    end = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AMODAL_BENCH_CACHE"] = str(Path(folder) / "cache")
        run = Fuzz(Path(folder), asked.out, asked.seed)
        for name, sample in chosen.items():
            run.prepare(name, sample)
        while time.monotonic() < end:
            for name, sample in chosen.items():
                numbers = range(following[name], following[name] + (BATCH if asked.case is None else 1))
                for number, result in run.batch(name, sample, numbers):
                    run.note(name, number, result, tallies[name])
                    following[name] = number + 1
            if asked.case is not None:
                break
    return 1 if report(tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
