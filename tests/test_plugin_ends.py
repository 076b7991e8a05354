"""A plugin that asks to end the process, or that fails where nobody expects it: the command's end stays true."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Cli = Callable[..., CompletedProcess[str]]

PLUGIN = '''
import sys
import typer
from argparse import ArgumentParser
from amodal_bench.plugin import Dataset, DatasetCard, Method, MethodCard, Settings

{at_import}

class Ender(Dataset[Settings]):
    """One instance that nobody reads."""

    card = DatasetCard(title="Ender", splits={{"test": {{}}}}, default_split="test", embedded=True)

    def __init__(self, location, split, options):
        super().__init__(location, split, options)
        {in_constructor}

    def ids(self):
        return ["ender/test/0/0"]

    def fingerprint(self):
        return "0" * 64

    def __getitem__(self, index):
        raise NotImplementedError


class EndingMethod(Method[Settings]):
    """Ends in load."""

    card = MethodCard(title="Ending method")

    def load(self, runtime):
        {in_load}

    def predict(self, queries, seeds):
        return [query.visible for query in queries]
'''
ENDS = {
    "sys.exit(0)": "0",
    "sys.exit(3)": "3",
    "sys.exit()": "None",
    "sys.exit('enough')": "'enough'",
    "exit(0)": "0",
    "raise typer.Exit(0)": "0",
    "ArgumentParser().parse_args(['--no'])": "2",
}


def plugin(folder: Path, **code: str) -> Path:
    path = folder / "ender.py"
    nothing = dict.fromkeys(("at_import", "in_constructor", "in_load"), "pass")
    path.write_text(PLUGIN.format(**{**nothing, **code}))
    return path


def bench(cli: Cli, path: Path) -> CompletedProcess[str]:
    return cli("bench", "-m", "ender", "-d", "ender", "--plugin", path, "--results", path.parent / "r")


@pytest.mark.parametrize(
    ("where", "end"),
    [*(("in_constructor", end) for end in ENDS), ("in_load", "sys.exit(0)"), ("in_load", "exit(0)")],
)
def test_no_exit_of_a_plugin_ends_the_command(where: str, end: str, cli: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, **{where: end})
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if end in text)
    done = bench(cli, path)
    assert done.returncode == 2
    assert f"amodal-bench: a plugin asked to end the process with {ENDS[end]} ({path}, line {line})" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("end", ["sys.exit(0)", "exit(3)"])
def test_nor_does_one_at_import(end: str, cli: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, at_import=end)
    done = bench(cli, path)
    assert done.returncode == 2
    code = re.findall(r"\d", end)[0]
    assert f"--plugin {path}: cannot be imported: it asked to end the process with {code}" in done.stderr


def test_other_commands_are_not_ended_either(cli: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, in_constructor="sys.exit(0)")
    for arguments in (("doctor", "ender"), ("export", "ender", "--format", "coco_a", "--out", tmp_path / "out")):
        done = cli(*arguments, "--plugin", path)
        assert (done.returncode, "a plugin asked to end the process with 0" in done.stderr) == (2, True)


def test_an_installed_plugin_that_ends_leaves_the_others_in_the_list(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ender.py").write_text("import sys\nsys.exit(0)\n")
    info = tmp_path / "ender-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ender\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[amodal_bench.methods]\nender = ender\n")
    done = cli("list", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.search("convex_hull +Convex hull", done.stdout)
    assert "plugin 'ender' of ender cannot be imported: it asked to end the process with 0" in done.stdout


def test_a_plugin_that_closes_the_outputs_silences_nobody(process: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, at_import="sys.stdout.close(); sys.stderr.close()", in_constructor="sys.exit(0)")
    listed, refused = process("list", "--plugin", path), bench(process, path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search("ender +Ending method", listed.stdout)
    assert refused.stderr.startswith("amodal-bench: a plugin asked to end the process")


def test_what_nobody_expects_keeps_its_traceback(process: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, in_constructor=r"raise ZeroDivisionError('\x1b]0;owned\x07')")
    done = bench(process, path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: \\x1b]0;owned\\x07\n")
    assert f'File "{path}", line' in done.stderr


def test_a_broken_pipe_inside_a_command_is_no_quiet_end(cli: Cli, tmp_path: Path) -> None:
    path = plugin(tmp_path, in_constructor="raise BrokenPipeError(32, 'Broken pipe', 'decoder')")
    done = bench(cli, path)
    assert (done.returncode, done.stderr) == (2, "amodal-bench: cannot read or write decoder: Broken pipe\n")
