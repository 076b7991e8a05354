"""benchmarks/gpu.py without a card: it refuses, its stages run at tiny sizes, and what was cut off is gone on with."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("accelerate")

from command import main  # noqa: E402
from conddiff_card import stages as stages_of_conddiff  # noqa: E402
from conddiff_masks import compared  # noqa: E402
from stages import Record, Stage  # noqa: E402

from amodal_bench.errors import Refused  # noqa: E402

Capture = pytest.CaptureFixture[str]


def quiet(_: str) -> None: ...


def test_without_a_card_it_says_what_it_needs_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "figures.json"
    assert main(["conddiff", "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"torch {torch.__version__} " in told.err
    assert all(part in told.err for part in ("sees none here", "nvidia-smi", "CUDA_VISIBLE_DEVICES", "--cpu-dry-run"))
    assert not out.exists()


def test_every_stage_but_the_killed_training_runs_on_a_cpu(tmp_path: Path, capsys: Capture) -> None:
    """That one starts two processes; what it does, a kill and going on, test_resuming tests of the trainer."""
    out = tmp_path / "figures.json"
    names = [stage.name for stage in stages_of_conddiff("cpu", dry=True) if stage.name != "killed and resumed"]
    command = ["conddiff", "--cpu-dry-run", "--minutes", "60", "--out", str(out), "--only", *names]
    assert main(command) == 0
    record = json.loads(out.read_bytes())
    assert list(record["stages"]) == names
    assert record["left"] == []
    assert record["facts"]["dry"] is True
    assert record["facts"]["torch"] == torch.__version__
    assert record["stages"]["masks by device, random"]["identical"] == 3  # of one device with itself
    assert record["stages"]["masks by precision, random"]["bf16"]["mean_iou"] > 0.5
    sampling = record["stages"]["sampling fp32 2"]
    assert sampling["instances_s"] == pytest.approx(2 / sampling["batch_s"])
    assert not torch.is_autocast_enabled("cpu")
    capsys.readouterr()
    assert main(command) == 0  # nothing is taken again
    assert capsys.readouterr().out == ""
    assert json.loads(out.read_bytes()) == record


def test_every_stage_of_inpaint_runs_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("segment_anything")
    out = tmp_path / "figures.json"
    assert main(["inpaint", "--cpu-dry-run", "--minutes", "60", "--out", str(out)]) == 0
    record = json.loads(out.read_bytes())
    assert record["left"] == []
    assert record["stages"]["masks by device"]["identical"] == 12  # of one device with itself
    assert record["stages"]["contract"]["held"] is True
    model = record["stages"]["sd15 float16 1 guided"]
    assert model["batch_s"] == pytest.approx(model["latents_s"] + model["decode_s"])
    assert model["tflop_an_instance"] > 0


def test_a_stage_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, capsys: Capture) -> None:
    assert main(["conddiff", "--cpu-dry-run", "--out", str(tmp_path / "f.json"), "--only", "speed"]) == 2
    assert capsys.readouterr().err.startswith("--only speed: no stage begins so. Stages: limits, operations, sampling")


def counting(calls: list[str], name: str, fault: Exception | None = None) -> Callable[[], Mapping[str, Any]]:
    def measure() -> dict[str, int]:
        calls.append(name)
        if fault is not None:
            raise fault
        return {"figure": len(calls)}

    return measure


def test_what_failed_is_written_down_costs_no_other_stage_and_is_tried_again(tmp_path: Path) -> None:
    calls: list[str] = []
    path = tmp_path / "figures.json"
    faults = {"a": None, "b": RuntimeError("no kernel"), "c": torch.OutOfMemoryError("full"), "d": None}
    stages = [Stage(name, counting(calls, name, fault)) for name, fault in faults.items()]
    assert Record(path, {"card": "x"}).take(stages, 1, quiet) == ["b"]
    kept = json.loads(path.read_bytes())
    assert kept["stages"]["b"]["failed"] == "RuntimeError: no kernel"
    assert kept["stages"]["c"]["out_of_memory"] is True
    assert (kept["stages"]["d"]["figure"], kept["left"]) == (4, ["b"])
    stages[1] = Stage("b", counting(calls, "b"))
    assert Record(path, {"card": "x"}).take(stages, 1, quiet) == []
    assert calls == ["a", "b", "c", "d", "b"]


def test_a_call_that_is_cut_off_keeps_the_stages_before(tmp_path: Path) -> None:
    calls: list[str] = []
    path = tmp_path / "figures.json"
    stages = [Stage("a", counting(calls, "a")), Stage("b", counting(calls, "b", KeyboardInterrupt()))]  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        Record(path, {}).take(stages, 1, quiet)
    assert Record(path, {}).take([stages[0], Stage("b", counting(calls, "b"))], 1, quiet) == []
    assert calls == ["a", "b", "b"]


def test_no_stage_begins_that_would_not_end_in_time_but_shorter_ones_do(tmp_path: Path) -> None:
    calls: list[str] = []
    told: list[str] = []
    stages = [Stage("long", counting(calls, "long"), 61), Stage("short", counting(calls, "short"), 5)]
    assert Record(tmp_path / "f.json", {}).take(stages, 1, told.append) == ["long"]
    assert calls == ["short"]
    assert told[0] == "long: left for the next call (61 s would not fit)"


def test_figures_of_another_card_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    Record(path, {"gpu": "A", "torch": "1"}).take([Stage("a", dict)], 1, quiet)
    with pytest.raises(Refused, match=r"holds figures of something else \(gpu 'A', here 'B'\): give --out another"):
        Record(path, {"gpu": "B", "torch": "1"})
    path.write_text("[]")
    with pytest.raises(Refused, match="is no record of this benchmark: move it away"):
        Record(path, {})


def test_how_far_masks_are_apart() -> None:
    whole, half, none = np.ones((2, 4), bool), np.ones((2, 4), bool), np.zeros((2, 4), bool)
    half[0] = False
    found = compared([whole, whole, none], [whole, half, none])
    assert found == {"masks": 3, "identical": 2, "pixels_apart": 4 / 16, "mean_iou": 2.5 / 3, "least_iou": 0.5}
