"""The commands as a user types them."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from amodal_bench.cli import options as o
from amodal_bench.errors import Refused

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def squares(plugins: Path) -> list[str]:
    return ["--dataset", "squares", *(f"--plugin={plugins / name}.py" for name in ("squares", "dilate", "trouble"))]


def test_bench_ends_with_a_comparison_buckets_and_the_folders(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    done = cli("bench", "--method", "visible,convex_hull", *squares, "--results", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert re.search(r"squares/test +protocol instance-mean/1", done.stdout)
    assert re.search(r"visible +60.00 \[[0-9.]+, [0-9.]+\] +0.00 \[0.00, 0.00\] +24 +21 +0", done.stdout)
    assert re.search(r"\[0.2, 0.4\) +6 ", done.stdout)
    assert re.search(r"convex_hull: .*/r/squares/test/convex_hull/[0-9a-f]{12}", done.stdout)


def test_the_same_command_has_nothing_to_do_and_prints_the_table(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    command = ("bench", "--method", "visible", *squares, "--results", tmp_path / "r")
    first, second = cli(*command), cli(*command)
    assert "24/24" in first.stdout
    assert "24/24" not in second.stdout
    assert first.stdout.split("protocol")[1] == second.stdout.split("protocol")[1]


def test_fresh_starts_over(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    command = ("bench", "--method", "dilate", *squares, "--results", tmp_path / "r")
    cli(*command)
    assert "24/24" in cli(*command, "--fresh").stdout


def test_a_limited_run_is_stamped_partial(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    done = cli("bench", "--method", "visible", *squares, "--limit", "5", "--results", tmp_path / "r")
    assert "visible partial" in done.stdout
    assert "partial: a hash-ordered subset of the split (visible 5 of 24); not a result, not ranked" in done.stdout


def test_several_seeds_give_mean_and_spread(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    done = cli("bench", "--method", "dilate", *squares, "--seed", "0,1,2", "--results", tmp_path / "r")
    assert re.search(r"dilate, mean ± sd of 3 seeds +[0-9.]+ ± [0-9.]+ +[0-9.]+ ± [0-9.]+", done.stdout)


def test_errors_exit_with_one_and_the_rest_is_scored(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    done = cli("bench", "--method", "trouble", *squares, "--results", tmp_path / "r")
    assert done.returncode == 1
    assert "instances with errors are left out and the run is not ranked; the same command tries again" in done.stdout
    assert re.search(r"trouble .* 21 +\d+ +3 ", done.stdout)


def test_a_full_disk_loses_nothing_that_was_finished(process: Cli, squares: list[str], tmp_path: Path) -> None:
    command = ("bench", "--method", "trouble", "--set", "how=disk", *squares, "--results", tmp_path / "r")
    full = process(*command)
    assert full.returncode == 1
    assert re.search(
        r"cannot write to .*/r/squares/test/trouble/\w+ \(File too large\): 0 instances are saved", full.stdout
    )
    again = process(*command, TROUBLE_CURED="1")
    assert again.returncode == 0, again.stderr + again.stdout


def test_dry_run_says_what_would_be_done_and_writes_nothing(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    done = cli("bench", "--method", "dilate", *squares, "--limit", "7", "--dry-run", "--results", tmp_path / "r")
    assert "7 of 24 asked for, 0 on disk already" in done.stdout
    assert "{'most': 3}" in done.stdout
    assert not (tmp_path / "r").exists()


def test_score_needs_no_dataset_and_no_torch(cli: Cli, process: Cli, squares: list[str], tmp_path: Path) -> None:
    cli("bench", "--method", "visible", *squares, "--results", tmp_path / "r")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "torch.py").write_text("raise ImportError('blocked')\n")
    done = process("score", tmp_path / "r", "--protocol", "pooled/1,sdamodal/1", PYTHONPATH=str(tmp_path / "block"))
    assert done.returncode == 0, done.stderr
    assert "protocol pooled/1" in done.stdout
    assert "protocol sdamodal/1" in done.stdout


def test_score_takes_other_buckets(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    cli("bench", "--method", "visible", *squares, "--results", tmp_path / "r")
    done = cli("score", tmp_path / "r", "--buckets", "0,.5,1")
    assert re.search(r"\(0.5, 1\] +8 ", done.stdout)


def test_runs_on_different_data_are_not_put_into_one_table(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    for count in ("24", "12"):
        cli("bench", "--method", "visible", *squares, "--set", f"dataset.count={count}", "--results", tmp_path / "r")
    done = cli("score", tmp_path / "r")
    assert re.search(r"squares/test \(count=12\) +protocol", done.stdout)
    assert re.search(r"squares/test \(count=24\) +protocol", done.stdout)


def test_refusals_exit_with_two_one_sentence_and_no_traceback(cli: Cli, tmp_path: Path) -> None:
    done = cli("bench", "--method", "visble", "--dataset", "coco_a", "--results", tmp_path / "r")
    assert done.returncode == 2
    assert done.stderr.startswith("amodal-bench: unknown method or preset 'visble'. Did you mean 'visible'?")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


def test_score_of_nothing_says_what_to_name(cli: Cli, tmp_path: Path) -> None:
    done = cli("score", tmp_path)
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "amodal-bench")
    assert "holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY, or one above runs" in done.stderr


def test_one_root_for_two_datasets_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("bench", "--method", "visible", "--dataset", "coco_a,synthetic", "--root", tmp_path)
    assert done.returncode == 2
    assert "--root is one dataset's folder, but 2 were asked for: use --data-root" in done.stderr


def test_workers_take_their_shard_from_slurm(cli: Cli, squares: list[str], tmp_path: Path) -> None:
    command = ("bench", "--method", "dilate", *squares, "--results", tmp_path / "r")
    cli(*command, "--limit", "1")
    folder = next((tmp_path / "r").glob("*/*/*/*"))
    request = json.loads((folder / "run.json").read_text())
    request["request"]["limit"] = None
    (folder / "run.json").write_text(json.dumps(request))
    plugins = [argument for argument in squares if argument.startswith("--plugin")]
    refused = cli("worker", folder, *plugins)
    assert "worker needs --shard i/n, or RANK and WORLD_SIZE, or SLURM_PROCID and SLURM_NTASKS" in refused.stderr
    for number in "01":
        done = cli("worker", folder, *plugins, SLURM_PROCID=number, SLURM_NTASKS="2")
        assert done.returncode == 0, done.stderr
    assert "24 on disk" in cli(*command).stdout


def test_list_and_doctor_tell_what_is_ready(cli: Cli, tmp_path: Path) -> None:
    listed = cli("list")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"coco_a .* not found: data/coco_a", listed.stdout)
    assert re.search(r"instance-mean/1 +mean of per-instance IoU", listed.stdout)
    assert "python 3." in cli("doctor").stdout


def test_lists_of_names_and_seeds() -> None:
    assert o.split_list("a, b,a", "method") == ["a", "b"]
    assert o.split_seeds("0,2") == [0, 2]
    with pytest.raises(Refused, match="--seed takes whole numbers from 0 separated by commas, got '1,x'"):
        o.split_seeds("1,x")
    with pytest.raises(Refused, match="--method takes names separated by commas, got 'a,,b'"):
        o.split_list("a,,b", "method")
