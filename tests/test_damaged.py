"""A results folder with a run damaged in each way: every command shows the others and says what it left out."""

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.damages import UNREADABLE, WITHOUT_PICTURES, WITHOUT_TIMES, damaged, healthy

SQUARES = Path(__file__).parent / "plugins" / "squares.py"
HEALTHY = ("visible", "convex_hull", "dilate")
READERS: dict[str, tuple[str, ...]] = {
    "score": ("score", "RESULTS"),
    "score protocols": ("score", "RESULTS", "--protocol", "pooled/1,conddiff/1"),
    "table": ("table", "--results", "RESULTS"),
    "table csv": ("table", "--results", "RESULTS", "--format", "csv", "--timings"),
    "tables": ("tables", "--results", "RESULTS", "--out", "OUT"),
    "compare": ("compare", "visible", "convex_hull", "--results", "RESULTS", "--draws", "50"),
    "bars": ("figure", "bars", "--results", "RESULTS", "--out", "OUT/f.png"),
    "curve": ("figure", "curve", "--results", "RESULTS", "--out", "OUT/f.png"),
    "grid": ("figure", "grid", "--results", "RESULTS", "--out", "OUT/f.png", "--rows", "worst:1",
             "--plugin", "SQUARES"),
    "report": ("report", "--results", "RESULTS", "--draws", "20", "--gallery", "2", "--plugin", "SQUARES",
               "--protocol", "pooled/1"),
}  # fmt: skip


def spelled(arguments: tuple[str, ...], results: Path, out: Path) -> list[str]:
    folders = {"RESULTS": str(results), "SQUARES": str(SQUARES)}
    return [folders.get(text, text.replace("OUT", str(out))) for text in arguments]


def told_by(cli: Cli, arguments: list[str]) -> tuple[int, str]:
    """Exit code and all that a command said."""
    done = cli(*arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whole runs, and one more for each way to damage it."""
    folder = healthy(tmp_path_factory.mktemp("damaged") / "results")
    for label, (damage, _) in UNREADABLE.items():
        damaged(folder, label, damage)
    for label, harmless in {**WITHOUT_PICTURES, **WITHOUT_TIMES}.items():
        damaged(folder, label, harmless)
    return folder


@pytest.mark.parametrize("command", READERS)
def test_every_command_shows_the_healthy_runs_and_a_line_for_each_other(
    command: str, results: Path, tmp_path: Path, cli: Cli
) -> None:
    out = tmp_path / "out"
    done = cli(*spelled(READERS[command], results, out))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    for label, (_, told) in UNREADABLE.items():
        mine = [line for line in lines if f"/{label}/" in line]
        assert len(mine) == 1, (label, mine)
        assert mine[0].startswith("left out: ")
        assert told in mine[0], mine[0]
    if command.split()[0] in ("score", "table"):
        for label in (*HEALTHY, *WITHOUT_TIMES, *WITHOUT_PICTURES):
            assert any(label in line and "left out" not in line for line in lines), label
    if command == "table csv":
        assert all(line.count(",") > 5 for line in done.stdout.splitlines()), "standard output is the table alone"
    if command == "grid":
        for label in WITHOUT_PICTURES:
            assert sum(f"/{label}/" in line for line in lines) == 1
    if command == "report":
        page = (results / "report" / "index.html").read_text()
        assert f"{len(UNREADABLE)} runs left out." in page
        assert len(list((results / "report" / "images").iterdir())) > 2
        assert any("/pictures-cut/" in line and line.startswith("note: ") for line in lines)


NAMING: dict[str, tuple[str, ...]] = {
    "score": ("score", "RUN"),
    "compare": ("compare", "RUN", "OTHER"),
    "compare second": ("compare", "OTHER", "RUN"),
    "audit": ("audit", "RUN"),
    "figure": ("figure", "bars", "--run", "RUN", "--run", "OTHER", "--out", "OUT/f.png"),
    "export-run": ("export-run", "RUN", "--out", "OUT/run.json"),
    "export-run csv": ("export-run", "RUN", "--format", "csv", "--out", "OUT/run.csv"),
    "export-run AP": ("export-run", "RUN", "--ap"),
}  # fmt: skip


@pytest.mark.parametrize("label", UNREADABLE)
def test_a_command_that_names_the_damaged_run_is_refused(label: str, tmp_path: Path, cli: Cli) -> None:
    damage, told = UNREADABLE[label]
    results = healthy(tmp_path / "results")
    run = damaged(results, label, damage)
    other = next((results / "squares" / "test" / "visible").iterdir())
    folders = {"RUN": str(run), "OTHER": str(other)}
    for command, arguments in NAMING.items():
        spelled = [folders.get(text, text.replace("OUT", str(tmp_path / "out"))) for text in arguments]
        code, said = told_by(cli, spelled)
        assert (command, code) == (command, 2), said
        assert told in said or label in ("record-folder", "record-lost"), (command, said)
        assert str(run) in said
        assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [name for name in READERS if name != "compare"])
def test_where_nothing_is_left_the_command_is_refused_with_the_reasons(command: str, tmp_path: Path, cli: Cli) -> None:
    results = tmp_path / "results"
    for label in ("record-list", "table-foreign"):
        damaged(results, label, UNREADABLE[label][0])
    code, said = told_by(cli, spelled(READERS[command], results, tmp_path / "out"))
    assert code == 2, said
    for label in ("record-list", "table-foreign"):
        assert UNREADABLE[label][1] in said
        assert f"/{label}/" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("label", WITHOUT_TIMES)
def test_lost_times_leave_a_dash(label: str, tmp_path: Path, cli: Cli) -> None:
    run = damaged(tmp_path / "results", label, WITHOUT_TIMES[label])
    code, said = told_by(cli, ["score", str(run)])
    assert code == 0, said
    assert next(line for line in said.splitlines() if line.strip().startswith(label)).split()[-1] == "-"


@pytest.mark.parametrize("label", WITHOUT_PICTURES)
def test_lost_predictions_are_told_by_who_needs_them(label: str, tmp_path: Path, cli: Cli) -> None:
    run = damaged(tmp_path / "results", label, WITHOUT_PICTURES[label])
    for arguments in (
        ["export-run", str(run), "--out", str(tmp_path / "run.json")],
        ["figure", "grid", "--run", str(run), "--plugin", str(SQUARES), "--out", str(tmp_path / "f.png")],
    ):
        code, said = told_by(cli, arguments)
        assert (code, "predictions.parquet" in said) == (2, True), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "results"]
