"""What a terminal gets: every command with hostile names, paths, titles and errors, looked at byte by byte."""

import ast
import csv
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.results.select import results_runs
from amodal_bench.tables.measured import TableRequest, build
from amodal_bench.tables.render import FORMATS
from amodal_bench.text.csv_text import cell, from_cell
from amodal_bench.text.printable import printable
from tests.in_process import ended

ROOT = Path(__file__).parent.parent
PLUGIN = ROOT / "tests" / "plugins" / "hostile.py"
PLACE = "exp[/b]:smile:\x1b]0;owned\x07\x1b[41m\u202e\n✓ all is well"
SHOWN = "[/b]:smile:\\x1b]0;owned\\x07\\x1b[41m"
# What rich itself sends: colours and weight, and the moves of a progress bar.
OURS = re.compile(r"\x1b\[(?!41m)[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")


@dataclass(frozen=True)
class Ended:
    """How a command ended and all that the terminal received."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """Without what rich sends."""
        return OURS.sub("", self.raw)


def in_terminal(home: Path, *arguments: str | Path, columns: int = 400) -> Ended:
    """Run a command with a terminal of its own for its input, output and errors, which its workers have too."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {"TERM": "xterm-256color", "AMODAL_BENCH_CACHE": str(home / "cache")}
    received = bytearray()
    reader = threading.Thread(target=read, args=(master, received))
    reader.start()
    with on_terminal(slave):
        code = ended([os.fspath(each) for each in arguments], home, environment, ("COLUMNS", "LINES", "NO_COLOR"))
    reader.join()
    return Ended(code, received.decode())


def read(master: int, received: bytearray) -> None:
    """All that comes until nobody holds the other end any more."""
    try:
        while chunk := os.read(master, 65536):
            received += chunk
    except OSError:
        os.close(master)


@contextmanager
def on_terminal(slave: int) -> Iterator[None]:
    """The terminal as the input, output and errors of this process, and Python's streams made of them."""
    kept = [os.dup(number) for number in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(slave, number)
            patch.setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
        os.close(slave)
        try:
            yield
        finally:
            for number, copy in enumerate(kept):
                os.dup2(copy, number)
                os.close(copy)


def check(end: Ended, code: int) -> None:
    """The exit code; nothing that steers the terminal; no text that poses as a line of ours."""
    assert end.code == code, end.raw
    assert "Traceback" not in end.raw
    assert end.text == printable(end.text, keep="\n")
    assert not re.search("^✓ all is well", end.text, re.MULTILINE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile name: a plugin, the folder of its data, and three runs whose labels are hostile too."""
    home = tmp_path_factory.mktemp("terminal") / PLACE
    (home / "data" / "hostile").mkdir(parents=True)
    shutil.copy(PLUGIN, home / "hostile.py")
    end = in_terminal(home, "bench", "-m", "visible,convex_hull,hostile", *data(home), "--results", home / "results")
    check(end, 1)
    assert SHOWN in end.text
    for path in (home / "results").rglob("run.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "preset": f"{record['preset']} {PLACE} $\\frac{{"}))
    return home


def check_csv(path: Path, formula: str) -> None:
    """No cell that a spreadsheet would run, no control character, and the formula in it as text."""
    text = path.read_text()
    assert text == printable(text, keep="\n")
    cells = [each for row in csv.reader(text.splitlines()) for each in row]
    assert [each for each in cells if each != cell(from_cell(each))] == []
    assert f"'{formula}" in cells


def data(home: Path) -> list[str]:
    return ["-d", "hostile", *plugin(home)]


def plugin(home: Path) -> list[str]:
    return ["--plugin", str(home / "hostile.py"), "--data-root", str(home / "data")]


def run(home: Path, method: str) -> Path:
    return next((home / "results" / "hostile" / "test" / method).iterdir())


def test_workers_of_a_method_with_errors(home: Path) -> None:
    results = ["--results", str(home / "results")]
    end = in_terminal(home, "bench", "-m", "hostile", *data(home), *results, "--workers", "2")
    check(end, 1)
    assert end.text.count(f"log {SHOWN}") == 3
    assert re.search(f"^hostile: .*/exp{re.escape(SHOWN)}", end.text, re.MULTILINE)


def test_lists(home: Path) -> None:
    end = in_terminal(home, "list", *plugin(home))
    check(end, 0)
    assert f"Method {SHOWN}" in end.text
    assert f"weights {SHOWN}" in end.text
    assert re.search(f"folder found: .*/exp{re.escape(SHOWN)}", end.text)


def test_doctor(home: Path) -> None:
    end = in_terminal(home, "doctor", "hostile", *plugin(home))
    check(end, 0)
    for before in ("Set ", "two ", "dropped 1: dropped ", "noted ", "detail ", "log ", "warning "):
        assert f"{before}{SHOWN}" in end.text
    check_csv(home / "doctor-hostile-test.csv", "@SUM(A1)")
    assert re.search(f"^expected under .*/exp{re.escape(SHOWN)}", end.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "seen"),
    [
        (("bench", "--dry-run", "-m", "visible"), 0, "funnel .*dropped "),
        (("train", "-m", "hostile"), 1, "stopped "),
        (
            ("export", "hostile", "--format", "coco_a"),
            0,
            "check it: .*/exp",
        ),
    ],
)
def test_commands_that_read_the_dataset(
    arguments: tuple[str, ...], code: int, seen: str, home: Path, tmp_path: Path
) -> None:
    own = {"bench": data(home), "train": [*data(home), "--weights", str(home / "weights")]}
    written = [*plugin(home), "--out", str(home / "exported")]
    end = in_terminal(home, *arguments, *own.get(arguments[0], written))
    check(end, code)
    assert re.search(seen + re.escape(SHOWN), end.text), end.text


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (("score", "RUNS"), "visible exp"),
        (("verify", "VISIBLE", "--workers", "2", "PLUGIN"), f"exp{re.escape(SHOWN)}.*: reproducible from this folder"),
        (("worker", "VISIBLE", "--shard", "0/1", "PLUGIN"), "the bench command merges them: .*exp"),
        (("compare", "VISIBLE", "HULL"), "A = visible exp"),
        (("compare", "VISIBLE", "HULL", "ATTACKER"), "convex_hull exp"),
        (("audit", "VISIBLE"), "visible exp"),
        (("export-run", "VISIBLE", "--ap", "--out", "rows.csv", "--format", "csv"), "hostile/test/visible"),
        (("tables", "conddiff-1", "--results", "RUNS"), "cells measured: .*exp"),
        (("table", "--results", "RUNS", "--format", "tex"), "visible exp"),
        (("figure", "curve", "--results", "RUNS"), "exp"),
        (("figure", "bars", "--results", "RUNS"), "exp"),
        (("figure", "scatter", "--run", "VISIBLE", "--run", "HULL", "--results", "RUNS"), "exp"),
        (("figure", "grid", "--rows", "random:2", "--results", "RUNS", "PLUGIN"), "exp"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_commands_that_read_runs(arguments: tuple[str, ...], seen: str, home: Path) -> None:
    folders = {
        "RUNS": [str(home / "results")],
        "VISIBLE": [str(run(home, "visible"))],
        "HULL": [str(run(home, "convex_hull"))],
        "ATTACKER": [str(run(home, "hostile"))],
        "PLUGIN": plugin(home),
    }
    end = in_terminal(home, *(part for name in arguments for part in folders.get(name, [name])))
    check(end, 0)
    assert re.search(seen, end.text), end.text
    if arguments[0] == "export-run":
        check_csv(home / "rows.csv", "=1+1[/b]")


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", PLACE),
        ("bench", "--method", PLACE),
        ("bench", "--set", f"{PLACE}=1", "--method", "visible"),
        ("bench", "--plugin", PLACE),
        ("bench", f"--{PLACE}"),
        ("report", PLACE),
        ("compare", PLACE, PLACE),
        ("table", "--format", PLACE),
        (PLACE,),
    ],
    ids=lambda value: value[0].split("[")[0],
)
def test_refusals(arguments: tuple[str, ...], tmp_path: Path) -> None:
    end = in_terminal(tmp_path, *arguments)
    check(end, 2)
    assert end.text.startswith("amodal-bench: ")
    assert "[/b]:smile:" in end.text


def test_names_that_are_no_utf8_are_shown_and_refused(tmp_path: Path) -> None:
    end = in_terminal(tmp_path, "score", os.fsdecode(b"runs-\xff"))
    check(end, 2)
    assert "runs-\\udcff holds no run" in end.text


def test_names_in_tables_take_no_effect(home: Path) -> None:
    """Markdown: no cell more than the columns, no HTML, no line more; LaTeX: no command; CSV: no formula."""
    sheet = build(
        results_runs(home / "results"), TableRequest(protocols=[find_protocol(DEFAULT)], title=f"<b>={PLACE}")
    )
    texts = {name: write(sheet) for name, write in FORMATS.items()}
    table = [line for line in texts["md"].splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "<b>" not in texts["md"]
    assert r"\frac" not in texts["tex"].replace(r"\textbackslash{}frac", "")
    for text in texts.values():
        assert "owned" in text
        assert text == printable(text, keep="\n")


def test_a_page_holds_no_control_characters(home: Path) -> None:
    end = in_terminal(home, "report", "--results", home / "results", "--draws", "20", *plugin(home))
    check(end, 0)
    assert re.search(f"runs: .*/exp{re.escape(SHOWN)}", end.text)
    page = (home / "results" / "report" / "index.html").read_text()
    assert page == printable(page, keep="\n")
    assert "<b>" not in page.split("<main>")[1].replace("<b>Best</b>", "")


def test_styles_are_asked_for_openly() -> None:
    """Nothing in the command line is written as markup, and no `Text` or `Console` is made but in its one place."""
    faults = []
    for path in sorted((ROOT / "amodal_bench" / "cli").glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.search(r"\[(/|bold|dim|red|green|yellow)\]", node.value) and path.name != "console.py":
                    faults.append((path.name, node.value))
            elif isinstance(node, ast.Call) and path.name != "console.py":
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                if name in ("Console", "TextColumn", "print") or (name == "Text" and path.name != "progress.py"):
                    faults.append((path.name, name))
    assert faults == []


def test_every_process_of_ours_guards_its_streams() -> None:
    """A module that is run by itself (`python -m`) has other streams and other logs than the command line's."""
    faults = []
    for path in sorted(
        path for folder in ("amodal_bench", "methods", "datasets") for path in (ROOT / folder).rglob("*.py")
    ):
        text = path.read_text()
        if "basicConfig" in text and path.name != "streams.py":
            faults.append((path.name, "basicConfig"))
        guards = ("streams.guard()", "serve(")  # `pipes.serve` guards first
        if "\nif __name__ ==" in text and path.name != "__main__.py" and not any(call in text for call in guards):
            faults.append((path.name, "no guard"))
    assert faults == []
