"""The checkpoint that a training goes on from: a damaged one is named."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from amodal_bench.errors import Refused
from amodal_bench.methods._training.checkpoints import Checkpoints
from amodal_bench.methods._training.settings import TrainerSettings


@pytest.mark.parametrize("kind", ["empty", "cut off", "text", "a list"])
def test_a_damaged_checkpoint_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    torch.save([1] if kind == "a list" else {"step": torch.zeros(100)}, path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut off": whole[:-90], "text": b"step: 3", "a list": whole}[kind])
    with pytest.raises(Refused, match=r"latest\.pt(: not a whole checkpoint of tensors| holds no state of a training)"):
        Checkpoints(tmp_path, 1).read()


@pytest.mark.parametrize("kind", ["cut off", "gone"])
def test_where_the_last_checkpoint_is_damaged_the_one_before_is_taken(kind: str, tmp_path: Path) -> None:
    kept, monitor = Checkpoints(tmp_path, 1), Lines()
    for step in (1, 2, 3):
        kept.write({"step": step, "network": {"a": torch.full((99,), float(step))}})
    assert (kept.read() or {})["step"] == 3
    latest = tmp_path / "latest.pt"
    latest.write_bytes(latest.read_bytes()[:-90])
    if kind == "gone":  # killed between two renames
        latest.unlink()
    assert (kept.read(monitor) or {})["step"] == 2
    said = [line for line in monitor.lines if "latest.pt: not a whole checkpoint" in line]
    assert len(said) == (kind == "cut off")
    assert all(line.endswith("The checkpoint before it is taken") for line in said)
    (tmp_path / "before.pt").write_bytes(b"")
    with pytest.raises(Refused, match=r"before\.pt: not a whole checkpoint"):
        kept.read(monitor)


class Lines:
    """A monitor that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, done: int, total: int, text: str) -> None: ...

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_settings_are_read_under_their_old_names() -> None:
    old = {"batch": 4, "rate": 2e-3, "last_rate": 1e-5, "clip": 2.0, "half": True}
    read = TrainerSettings.model_validate(old)
    assert (read.batch_size, read.lr, read.final_lr, read.max_grad_norm, read.save_fp16) == tuple(old.values())
    with pytest.raises(ValidationError, match="rate is called lr now, and both are given: leave rate out"):
        TrainerSettings.model_validate({"rate": 1e-3, "lr": 1e-3})
