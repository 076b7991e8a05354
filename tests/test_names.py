"""Names that become folders: none leads out of --results or --weights, whoever gives it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.names import LONGEST, fault_of, file_name, plain_name
from amodal_bench.files.package import CONFIGS
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.resolve.locate import find_checkpoint
from amodal_bench.resolve.presets import find_preset, read_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.training import TrainRequest
from amodal_bench.resolve.training import prepare as prepare_training
from amodal_bench.store import folder as store
from amodal_bench.store.spec import RunSpec
from amodal_bench.tables.spec import find_table

Cli = Callable[..., subprocess.CompletedProcess[str]]
BAD = ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "C:x", "a\0b", "a\nb", "\x1b[31m", ".hidden", "x.", "x ", "a*",
       "\ud800", "x" * 121, "ä" * 61]  # fmt: skip
SPEC = RunSpec(method="m", revision=1, params={}, dataset="d", split="s", options={}, fingerprint="f")
DATASET = """
from amodal_bench.plugin import Dataset, DatasetCard


class Odd(Dataset):
    card = DatasetCard(title="Odd", splits={"../../../out": {}}, default_split="../../../out")

    def ids(self):
        return ["odd/x/i/0"]

    def __getitem__(self, index):
        raise NotImplementedError

    def fingerprint(self):
        return "f"
"""
LEARNED = """
from amodal_bench.plugin import Method, MethodCard, Settings


class Learned(Method):
    card = MethodCard(title="Learned", trained=True)
    Training = Settings

    def predict(self, queries, seeds):
        return [q.visible.copy() for q in queries]
"""


@pytest.mark.parametrize("name", BAD, ids=range(len(BAD)))
def test_a_name_that_is_no_part_of_a_path_is_refused_wherever_one_is_made(name: str, tmp_path: Path) -> None:
    assert fault_of(name)
    with pytest.raises(Refused, match=r"the split .* names a folder or a file, but "):
        plain_name(name, "split")
    for spec, label in (
        (SPEC.model_copy(update={"dataset": name}), "label"),
        (SPEC.model_copy(update={"split": name}), "label"),
        (SPEC, name),
    ):
        with pytest.raises(Refused, match=r"the (dataset|split|method) .* names a folder or a file, but"):
            store.run_folder(tmp_path, spec, label)
    assert not fault_of(file_name(name))


@pytest.mark.parametrize("name", ["conddiff-a", "kins", "val_2017", "my method (2)", "Straße", "a+b=c@d", "-x", "x..y"])
def test_a_plain_name_passes(name: str) -> None:
    assert plain_name(name, "method") == name


def test_any_text_becomes_a_file_name_and_long_ones_stay_different() -> None:
    assert file_name("squares/test (files c015154f, a=0.5)") == "squares-test-files-c015154f-a=0.5"
    long = [file_name("ü" * 300 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= LONGEST for name in long)


def test_a_preset_is_looked_up_and_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("method: visible\n")
    name = os.path.relpath(tmp_path / "outside", (CONFIGS / "methods").resolve())
    assert (CONFIGS / "methods" / f"{name}.yaml").is_file()
    for given in (name, str(tmp_path / "outside")):
        with pytest.raises(UnknownName, match="unknown method or preset"):
            find_preset(given, Registry())


@pytest.mark.parametrize("find", [find_protocol, find_table, Registry().dataset, Registry().method])
def test_other_names_are_looked_up_too(find: Callable[[str], object]) -> None:
    with pytest.raises(UnknownName):
        find("../x")


@pytest.mark.parametrize("field", ["trained_on", "weights_of"])
def test_a_preset_names_no_folder_outside_the_weights(field: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(f"method: visible\n{field}: ../../x\n")
    with pytest.raises(Refused, match=rf"(?s)p\.yaml: not a preset: .*{field}.*names a folder, but holds one of"):
        read_preset(tmp_path / "p.yaml")


def test_weights_of_a_dataset_lie_below_the_weights(tmp_path: Path) -> None:
    (tmp_path / "learned.py").write_text(LEARNED)
    preset = find_preset("learned", Registry([tmp_path / "learned.py"]))
    with pytest.raises(Refused, match=r"the dataset '../../x' names a folder or a file, but holds one of"):
        find_checkpoint(preset, "../../x", None, tmp_path)


@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_a_plugin_with_a_name_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a:b.py"
    path.write_text(LEARNED if kind == "method" else DATASET)
    registry = Registry([path])
    with pytest.raises(Refused, match=rf"the {kind} 'a:b' names a folder or a file"):
        (registry.method if kind == "method" else registry.dataset)("a:b")
    if kind == "method":
        with pytest.raises(Refused, match="the method 'a:b' names a folder or a file"):
            prepare_training(TrainRequest(method="a:b", dataset="synthetic", plugins=(path,), weights=tmp_path / "w"))
    assert [found.name for found in tmp_path.iterdir()] == ["a:b.py"]


@pytest.mark.parametrize("command", ["bench", "doctor", "export"])
def test_a_split_leads_nowhere(command: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "odd.py").write_text(DATASET)
    arguments: dict[str, list[str | Path]] = {
        "bench": ["-m", "visible", "--dataset", "odd", "--results", tmp_path / "deep" / "er" / "results"],
        "doctor": ["odd"],
        "export": ["odd", "--format", "folder", "--out", tmp_path / "exported"],
    }
    before = sorted(tmp_path.rglob("*"))
    done = cli(command, *arguments[command], "--plugin", tmp_path / "odd.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the split of odd '../../../out' names a folder or a file, but holds one of" in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_method_on_the_command_line_leads_nowhere(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "outside.yaml").write_text("method: visible\n")
    name = os.path.relpath(tmp_path / "outside", (CONFIGS / "methods").resolve())
    done = cli("bench", "-m", name, "--limit", 2, "--results", tmp_path / "results")
    assert done.returncode == 2
    assert f"unknown method or preset {name!r}" in done.stderr
    assert not (tmp_path / "results").exists()
