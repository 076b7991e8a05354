import json
import struct
from pathlib import Path

import pytest

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.files.machine import read_paths
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.locate import DataFlags, dataset_location, find_checkpoint, weights_root
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.weights_header import read_metadata

TRAINED = """
from amodal_bench.plugin import Method, MethodCard


class Learned(Method):
    card = MethodCard(title="Learned", licence="none", trained=True)

    def predict(self, queries, seeds):
        return [q.visible.copy() for q in queries]
"""


def safetensors(path: Path, **metadata: str) -> Path:
    header = json.dumps({"__metadata__": metadata, "w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_data_root_is_a_flag_then_the_environment_then_the_file_then_data(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset_location("kins", DataFlags()).root == Path("data/kins")
    (here / "amodal-bench.yaml").write_text(
        "data_root: /from/file\ndatasets: {d2sa: {root: /own, images: /pictures}}\n"
    )
    assert dataset_location("kins", DataFlags()).root == Path("/from/file/kins")
    assert dataset_location("d2sa", DataFlags()).root == Path("/own")
    assert dataset_location("d2sa", DataFlags()).images == Path("/pictures")
    monkeypatch.setenv("AMODAL_BENCH_DATA", "/from/environment")
    assert dataset_location("kins", DataFlags()).root == Path("/from/environment/kins")
    assert dataset_location("kins", DataFlags(data_root=Path("/flag"))).root == Path("/flag/kins")
    assert dataset_location("kins", DataFlags(data_root=Path("/flag"), root=Path("/r"))).root == Path("/r")


def test_the_weights_folder_follows_the_same_order(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_root(None) == Path("weights")
    (here / "amodal-bench.yaml").write_text("weights: /file\n")
    assert weights_root(None) == Path("/file")
    monkeypatch.setenv("AMODAL_BENCH_WEIGHTS", "/environment")
    assert weights_root(None) == Path("/environment")
    assert weights_root(Path("/flag")) == Path("/flag")


def test_a_misspelt_key_of_the_machines_file_is_refused(here: Path) -> None:
    (here / "amodal-bench.yaml").write_text("dataroot: /x\n")
    with pytest.raises(Refused, match=r"amodal-bench.yaml: (.|\n)*dataroot"):
        read_paths()


def test_weights_are_a_flag_then_the_trained_then_refused_with_the_command(here: Path) -> None:
    (here / "learned.py").write_text(TRAINED)
    preset = find_preset("learned", Registry([here / "learned.py"]))
    with pytest.raises(
        WeightsNotFound,
        match=r"(?s)no weights for 'learned' on 'kins'.*weights/learned/kins/model.safetensors.*"
        r"amodal-bench train --method learned --dataset kins.*--checkpoint FILE",
    ):
        find_checkpoint(preset, "kins", None, Path("weights"))
    trained = safetensors(here / "weights/learned/kins/model.safetensors", dataset="kins")
    found = find_checkpoint(preset, "kins", None, Path("weights"))
    assert found is not None
    assert (found.path.resolve(), found.metadata) == (trained, {"dataset": "kins"})
    other = safetensors(here / "other.safetensors")
    chosen = find_checkpoint(preset, "kins", other, Path("weights"))
    assert chosen is not None
    assert chosen.path == other
    with pytest.raises(WeightsNotFound, match="--checkpoint none: no such file"):
        find_checkpoint(preset, "kins", Path("none"), Path("weights"))


def test_a_checkpoint_for_a_method_without_weights_is_refused(here: Path) -> None:
    with pytest.raises(Refused, match="method 'visible' has no weights to load, but --checkpoint w was given"):
        find_checkpoint(find_preset("visible", Registry()), "kins", Path("w"), Path("weights"))


def test_a_damaged_checkpoint_is_refused_before_torch_sees_it(tmp_path: Path) -> None:
    whole = safetensors(tmp_path / "a.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[:-2])
    with pytest.raises(Refused, match=r"cut.safetensors: cut off: \d+ bytes, its header promises"):
        read_metadata(cut)
    cut.write_bytes(whole[:20])
    with pytest.raises(Refused, match="not a whole safetensors file"):
        read_metadata(cut)
    cut.write_bytes(struct.pack("<Q", 4) + b"oops" + b"1234")
    with pytest.raises(Refused, match="its header is not JSON"):
        read_metadata(cut)


BACKED = TRAINED.replace(
    "    def predict",
    """    def pretrained(self, weights):
        return {"backbone": weights / "backbone.bin"}

    def predict""",
)


def test_two_backbones_under_one_adapter_are_two_keys(here: Path, plugins: Path) -> None:
    (here / "learned.py").write_text(BACKED)
    adapter = safetensors(here / "adapter.safetensors")
    backbone = here / "weights" / "backbone.bin"
    backbone.parent.mkdir()
    specs = []
    for contents in (b"vit_b", b"vit_l"):
        backbone.write_bytes(contents)
        files = (here / "learned.py", plugins / "squares.py")
        specs.append(prepare(Request(method="learned", dataset="squares", plugins=files, checkpoint=adapter)).spec)
    assert specs[0].checkpoint == specs[1].checkpoint
    assert specs[0].pretrained != specs[1].pretrained
    assert specs[0].key() != specs[1].key()


def test_weights_that_lie_beside_a_plugin_are_found(here: Path) -> None:
    (here / "own").mkdir()
    (here / "own" / "learned.py").write_text(TRAINED)
    preset = find_preset("learned", Registry([here / "own" / "learned.py"]))
    with pytest.raises(WeightsNotFound, match=r"and: .*/own/weights/learned\.safetensors"):
        find_checkpoint(preset, "kins", None, Path("weights"))
    shipped = safetensors(here / "own" / "weights" / "learned.safetensors")
    found = find_checkpoint(preset, "kins", None, Path("weights"))
    assert found is not None
    assert found.path == shipped
