"""Errors by kind: what the author of a plugin sees."""

from pathlib import Path
from typing import Any

import pytest

from amodal_bench.resolve.job import Request, prepare
from amodal_bench.running import run
from amodal_bench.running.guard import Failure
from amodal_bench.running.kinds import by_kind, keep_trace


def test_errors_that_differ_in_numbers_and_ids_are_one_kind(tmp_path: Path) -> None:
    errors = [(f"d/s/{k}/0", f"ValueError: d/s/{k}/0: mask is ({k}, 3)") for k in (1, 20, 3)]
    errors.insert(1, ("d/s/7/0", "RuntimeError: boom"))
    keep_trace(tmp_path, *_failure(errors[0], "mine.py:31"))
    keep_trace(tmp_path, *_failure(errors[2], "mine.py:99"))
    kinds = by_kind(tmp_path, errors)
    assert [(kind.count, kind.first, kind.text) for kind in kinds] == [
        (3, "d/s/1/0", "ValueError: mask is (1, 3)"),
        (1, "d/s/7/0", "RuntimeError: boom"),
    ]
    assert kinds[0].line == "mine.py:31"
    assert kinds[0].trace
    assert kinds[0].trace.read_text() == "d/s/1/0\nmine.py:31\nTraceback\n\n"
    assert (kinds[1].line, kinds[1].trace) == ("", None)


def _failure(error: tuple[str, str], line: str) -> tuple[str, Failure]:
    return error[0], Failure(error[1], "Traceback\n", line)


@pytest.mark.parametrize(
    ("method", "how", "told"),
    [
        ("trouble", "shape", "3 x ValueError: predicted mask must be bool (24, 32), got bool (24, 31) - trouble.py:31"),
        ("trouble", "raise", "3 x RuntimeError: no idea what squares/test/03/0 is - trouble.py:54"),
        ("deadly", "mute", "3 x MuteError: <exception str() failed> - deadly.py:104"),
    ],
)
def test_bench_tells_every_kind_with_its_place_and_keeps_the_first_traceback(
    cli: Any, plugins: Path, tmp_path: Path, method: str, how: str, told: str
) -> None:
    files = [f"--plugin={plugins / name}.py" for name in ("squares", method)]
    done = cli(
        "bench", "--method", method, "--dataset", "squares", "--set", f"how={how}", *files, "--results", tmp_path
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert told in lines
    first_line = lines[lines.index(told) + 1]
    assert first_line.startswith("    first at squares/test/03/0; traceback in ")
    text = Path(first_line.rpartition(" in ")[2]).read_text()
    assert text.splitlines()[0] == "squares/test/03/0"


def test_a_complete_run_keeps_no_tracebacks(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(plugins / f"{name}.py" for name in ("squares", "trouble"))
    request = Request(method="trouble", dataset="squares", plugins=files, results=tmp_path)
    run.bench(prepare(request))
    folder = prepare(request).folder.path
    assert len(list((folder / "errors").iterdir())) == 1
    monkeypatch.setenv("TROUBLE_CURED", "1")
    run.bench(prepare(request))
    assert not (folder / "errors").exists()


def test_bench_says_what_was_left_out_before_it_runs(cli: Any, plugins: Path, tmp_path: Path) -> None:
    words = ["--dataset", "shifty", f"--plugin={plugins / 'shifty.py'}", "--set", "dataset.dropped=3"]
    done = cli("bench", "--method", "visible", *words, "--results", tmp_path)
    assert done.stdout.splitlines()[0] == (
        "visible on shifty/test: 9 annotations, 3 dropped (too small 3), 1 noted (odd 1); doctor has them all"
    )
    silent = cli("bench", "--method", "visible", *words[:3], "--results", tmp_path)
    assert "annotations" not in silent.stdout
