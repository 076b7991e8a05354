"""Training from the core's side: what is refused, where weights go, and how bench finds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from amodal_bench.errors import Refused, UnknownName, WeightsNotFound
from amodal_bench.files.package import CONFIGS
from amodal_bench.resolve import training as resolve_training
from amodal_bench.resolve.held_out import HELD_OUT
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.training import TrainRequest
from amodal_bench.resolve.weights_header import read_metadata
from amodal_bench.running import ranks, run, train
from amodal_bench.store.lock import FolderLock
from tests.damages import damaged
from tests.damages import record as change_record

SMALL: dict[str, Any] = {
    "model": {
        "backbone": "pvt_v2_b0", "depths": [1, 1, 1, 1], "dims": [16, 32, 40, 64], "size": 32, "width": 16,
        "ocr": False,
    },
    "diffusion": {"steps": 1},
    "forward_batch": 8,
}  # fmt: skip
BRIEF = {"epochs": 1, "epoch_size": 8, "batch_size": 8, "val_limit": 3}


class Silence:
    def step(self, done: int, total: int, text: str) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def request_of(plugins: Path, tmp_path: Path) -> Any:
    """A request that trains a tiny conddiff on the squares."""

    def make(**changes: Any) -> TrainRequest:
        files = (plugins / "squares.py", *changes.pop("more", ()))
        whole = {
            "method": "conddiff", "dataset": "squares", "split": "test", "val_split": "test", "params": SMALL,
            "training": BRIEF, "plugins": files, "weights": tmp_path / "weights", "device": "cpu",
        }  # fmt: skip
        return TrainRequest.model_validate({**whole, **changes})

    return make


def test_what_was_trained_is_found_and_called_supervised(request_of: Any, plugins: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    job = resolve_training.prepare(request_of())
    train.train(job, Silence())
    model = tmp_path / "weights" / "conddiff" / "squares" / "model.safetensors"
    facts = read_metadata(model)
    assert (facts["dataset"], facts["split"], facts["seed"], facts["epochs"]) == ("squares", "test", "42", "1")
    record = json.loads((model.parent / "train.json").read_text())
    assert (record["status"], record["config"]) == ("complete", facts["config"])

    before = model.stat().st_mtime_ns
    train.train(resolve_training.prepare(request_of()), Silence())
    assert model.stat().st_mtime_ns == before, "a finished training is left alone"
    with pytest.raises(Refused, match=r"holds a training with other settings .*; seed: 42 there, 1 here;"):
        train.train(resolve_training.prepare(request_of(seed=1)), Silence())

    other = tmp_path / "bars.py"
    other.write_text((plugins / "squares.py").read_text().replace("squares/", "bars/"))
    common = {
        "method": "conddiff", "params": SMALL, "plugins": (plugins / "squares.py", other), "device": "cpu",
        "weights": tmp_path / "weights", "results": tmp_path / "results",
    }  # fmt: skip
    ours = prepare(Request.model_validate({**common, "dataset": "squares", "limit": 3}))
    run.bench(ours)
    assert ours.folder.record()["weights"]["setting"] == "supervised"
    with pytest.raises(WeightsNotFound, match="amodal-bench train --method conddiff --dataset bars"):
        prepare(Request.model_validate({**common, "dataset": "bars"}))
    named = prepare(Request.model_validate({**common, "dataset": "bars", "checkpoint": model}))
    assert named.checkpoint is not None
    assert named.checkpoint.setting("bars") == "zero-shot"
    wider = {**SMALL, "model": {**SMALL["model"], "width": 32}}
    with pytest.raises(Refused, match=r"model\.safetensors: these weights .*\n  model\.width: trained with 16"):
        prepare(Request.model_validate({**common, "dataset": "squares", "params": wider}))


def test_a_training_is_gone_on_with_where_nothing_that_changes_a_weight_differs(
    request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job_of(**changes: Any) -> resolve_training.TrainJob:
        return resolve_training.prepare(request_of(training={**BRIEF, **changes}))

    job = job_of()
    job.out.mkdir(parents=True)
    record = {"config": job.metadata["config"], "metadata": job.metadata, "seconds": 0}
    (job.out / "train.json").write_text(json.dumps(record))
    train.check_same(job_of(workers=3, val_limit=1, log_every=7, keep_every=9, save_minutes=1, val_steps=1))
    with pytest.raises(Refused, match=r"training\.lr: 0\.0001 there, 0\.5 here; see its train\.json"):
        train.check_same(job_of(lr=0.5, workers=3))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Refused, match="processes: 1 there, 2 here"):
        train.check_same(job_of())


def test_what_is_watched_is_reported_on_by_nobody_unless_it_is_named(request_of: Any, plugins: Path) -> None:
    default = resolve_training.prepare(request_of(val_split=None))
    groups = [{data.group(id) for id in data.ids()} for data in (default.train, default.val)]
    assert groups[0].isdisjoint(groups[1])
    assert len(groups[0] | groups[1]) == 8
    assert default.metadata["held_out"] == "1 of 8 groups by hash, 3 of 24 instances"
    assert (default.metadata["watched"], default.metadata["instances"]) == ("squares/held-out", "21")
    assert "watched_reported" not in default.metadata
    named = resolve_training.prepare(request_of(val_split="test"))
    assert (len(named.train), len(named.val)) == (24, 24)
    assert named.metadata["watched_reported"] == "yes"
    assert named.metadata["watched"] == "squares/test"
    assert "held_out" not in named.metadata
    assert default.metadata["config"] != named.metadata["config"]


@pytest.mark.parametrize(
    ("name", "watched"),
    [
        ("synthetic", "val"), ("pix2gestalt", "val"), ("kins", HELD_OUT), ("coco_a", HELD_OUT),
        ("cocoa_cls", HELD_OUT), ("d2sa", HELD_OUT), ("mp3d", HELD_OUT), ("bsds_a", "val"),
    ],
)  # fmt: skip
def test_which_split_each_dataset_is_watched_by(name: str, watched: str) -> None:
    card = Registry(()).dataset(name).cls.card
    assert resolve_training.default_watched([card], "train") == watched


def test_the_same_groups_are_held_out_in_any_order_and_some_at_least(request_of: Any) -> None:
    def held(count: int) -> set[str]:
        job = resolve_training.prepare(request_of(val_split=None, options={"count": 3 * count}))
        return {job.val.group(id) for id in job.val.ids()}

    assert [len(held(count)) for count in (2, 8, 40, 100, 1000)] == [1, 1, 8, 8, 20]
    assert held(100) <= {f"{k:02d}" for k in range(100)}
    job = resolve_training.prepare(request_of(val_split=None))
    first = job.val[0]
    assert (first.query.id, first.query.id.split("/")[1]) == (job.val.ids()[0], "test")
    with pytest.raises(Refused, match=r"all instances are of one group.*name a split with --val-split"):
        held(1)


def test_the_paper_does_not_begin_from_scratch_unless_it_is_asked_to(request_of: Any, tmp_path: Path) -> None:
    presets = ["conddiff", *(f"conddiff-{letter}" for letter in "abcdefghi")]
    for name in presets:
        with pytest.raises(WeightsNotFound, match=r"hf download timm/pvt_v2_b4\.in1k"):
            resolve_training.prepare(request_of(method=name, params={}))
    with pytest.raises(Refused, match=r"backbone_weights nothing\.pth: no such file"):
        resolve_training.prepare(request_of(training={**BRIEF, "backbone_weights": "nothing.pth"}))
    assert resolve_training.prepare(request_of(params={}, training={"backbone_weights": "none"})).starts == {}
    assert list(tmp_path.iterdir()) == []


def test_first_weights_are_digested_and_have_to_fit(request_of: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from amodal_bench.methods.conddiff.network import Network
    from amodal_bench.methods.conddiff.params import Model

    def prepared(key: str, file: Path) -> resolve_training.TrainJob:
        return resolve_training.prepare(request_of(training={**BRIEF, key: str(file)}))

    for name in ("a.pth", "b.pth"):
        torch.save(Network(Model.model_validate(SMALL["model"])).pcn.state_dict(), tmp_path / name)
    jobs = [prepared("backbone_weights", tmp_path / name) for name in ("a.pth", "b.pth")]
    assert all(job.metadata["start_backbone"].startswith("sha256:") for job in jobs)
    assert jobs[0].metadata["config"] != jobs[1].metadata["config"]

    other = Network(Model.model_validate({**SMALL["model"], "dims": [16, 32, 40, 32]}))
    torch.save(other.pcn.state_dict(), tmp_path / "other.pth")
    torch.save(other.state_dict(), tmp_path / "whole.pth")
    (tmp_path / "page.pth").write_bytes(b"<!DOCTYPE html>")
    for key, name, told in (
        ("backbone_weights", "other.pth", r"does not fit this network.*\(32,\), expected \(64,\)"),
        ("backbone_weights", "page.pth", "not a whole checkpoint of tensors"),
        ("start", "whole.pth", r"does not fit this network.*\(32,\), expected \(64,\)"),
    ):
        with pytest.raises(Refused, match=rf"(?s){name}.*{told}"):
            prepared(key, tmp_path / name)
    assert not (tmp_path / "weights").exists()


def test_other_processes_wait_until_the_first_has_looked_after_the_folder(
    request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What --fresh deletes, no process may go on from."""
    job = resolve_training.prepare(request_of())
    job.out.mkdir(parents=True)
    (job.out / "old.pt").write_bytes(b"of another training")
    said: list[str] = []

    def say(text: str, answer: bool) -> bool:
        said.append(text)
        return answer

    monkeypatch.setattr(ranks, "heard", lambda _: say("heard", True))
    monkeypatch.setattr(job.preset.plugin.cls, "train", lambda *_: said.append("trained"))
    monkeypatch.setenv("RANK", "1")
    train.train(job, Silence(), fresh=True)
    assert said == ["heard", "trained"]
    assert (job.out / "old.pt").exists(), "the folder is the first process's"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(ranks, "_broadcast", lambda word, _: say(f"told {word}, {left()}", word))

    def left() -> list[str]:
        return sorted(path.name for path in job.out.iterdir() if path.suffix == ".pt")

    said.clear()
    train.train(job, Silence(), fresh=True)
    assert said == ["told True, []", "trained"]
    monkeypatch.setattr(train, "check_same", refuse)
    said.clear()
    with pytest.raises(Refused, match="no"):
        train.train(job, Silence())
    assert said == ["told False, ['old.pt']"], "or they would wait for ever"


def refuse(_: Any) -> None:
    raise Refused("no")


def test_nothing_is_written_where_something_is_refused(request_of: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="'visible' has nothing to train"):
        resolve_training.prepare(request_of(method="visible", params={}))
    with pytest.raises(UnknownName, match=r"unknown parameter of the training of 'conddiff' 'epoch'. Did you mean"):
        resolve_training.prepare(request_of(training={"epoch": 3}))
    with pytest.raises(Refused, match="has no split 'train': name one with --split \\(test\\)"):
        resolve_training.prepare(request_of(split=None))
    with pytest.raises(Refused, match="'conddiff-j' takes the weights of 'conddiff'"):
        resolve_training.prepare(request_of(method="conddiff-j"))
    with pytest.raises(Refused, match="preset of weights from 'pix2gestalt'"):
        resolve_training.prepare(request_of(method="conddiff-zeroshot"))
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_instances_is_refused(request_of: Any, plugins: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    text = (plugins / "squares.py").read_text().replace("return self._ids\n", "return []\n")
    empty.write_text(text)
    with pytest.raises(Refused, match="has no instance to train on"):
        resolve_training.prepare(request_of(dataset="empty", more=(empty,)))


def test_the_training_file_of_a_preset_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "amodal-bench.yaml").write_text("configs: [own]\n")
    folder = tmp_path / "own" / "train"
    folder.mkdir(parents=True)
    assert resolve_training.find_train_file("none").training == {}
    (folder / "a.yaml").write_text("training: {epochs: 3}\n")
    assert resolve_training.find_train_file("a").training == {"epochs": 3}
    (folder / "b.yaml").write_text("epochs: 3\n")
    with pytest.raises(Refused, match=r"b\.yaml: not a training file"):
        resolve_training.find_train_file("b")
    assert resolve_training.find_train_file("b", folder / "a.yaml").training == {"epochs": 3}
    with pytest.raises(Refused, match=r"c\.yaml: no such file"):
        resolve_training.find_train_file("b", folder / "c.yaml")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"config": 1, "seconds": 0}', '{"config": "x"}'])
def test_a_damaged_record_of_a_training_is_named(text: str, request_of: Any) -> None:
    job = resolve_training.prepare(request_of())
    job.out.mkdir(parents=True)
    (job.out / "train.json").write_text(text)
    with pytest.raises(Refused, match=r"train\.json is not .*; --fresh starts "):
        train.check_same(job)


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_training_file_is_valid(path: Path) -> None:
    from amodal_bench.resolve.presets import build, find_preset
    from amodal_bench.resolve.registry import Registry

    preset = find_preset(path.stem, Registry())
    settings = preset.plugin.cls.Training
    assert settings is not None
    build(settings, resolve_training.read_train_file(path).training, path.stem)


def test_the_command_line_says_what_it_would_do(cli: Any, plugins: Path) -> None:
    done = cli(
        "train", "--method", "conddiff", "--dataset", "squares", "--split", "test", "--plugin", plugins / "squares.py",
        "--set", "train.epochs=3", "--set", "train.backbone_weights=none", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"epochs": 3' in done.stdout
    assert "3 instances of Squares behind bars test, held-out" in done.stdout
    assert "starts from nothing" in done.stdout
    watched = cli(
        "train", "--method", "conddiff-nano", "--dataset", "squares", "--split", "test", "--val-split", "test",
        "--plugin", plugins / "squares.py", "--dry-run",
    )  # fmt: skip
    assert "24 instances of Squares behind bars test: numbers are reported on this split" in watched.stdout
    assert "nothing is run or written" in done.stdout
    refused = cli("train", "--method", "convex_hull")
    assert refused.returncode == 2
    assert "nothing to train" in refused.stderr


def test_two_trainings_in_one_folder_are_refused(request_of: Any) -> None:
    job = resolve_training.prepare(request_of())
    with FolderLock(job.out) as lock:
        assert lock.take()
        with pytest.raises(Refused, match=r"conddiff/squares is being trained into by process \d+ on "):
            train.train(job, Silence())
    assert not job.out.exists()


def test_fresh_brings_back_what_it_put_aside_where_the_new_training_cannot_begin(
    request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = resolve_training.prepare(request_of())
    job.out.mkdir(parents=True)
    (job.out / "model.safetensors").write_bytes(b"weeks of work")

    def fail(*_: Any) -> None:
        raise RuntimeError("no memory")

    def begin(_: Any, __: Any, ___: Any, run: Any) -> None:
        (run.out / "checkpoint.pt").write_bytes(b"a first epoch")
        raise KeyboardInterrupt

    monkeypatch.setattr(job.preset.plugin.cls, "train", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        train.train(job, Silence(), fresh=True)
    assert [path.name for path in job.out.iterdir()] == ["model.safetensors"]
    assert (job.out / "model.safetensors").read_bytes() == b"weeks of work"
    monkeypatch.setattr(job.preset.plugin.cls, "train", begin)
    with pytest.raises(KeyboardInterrupt):
        train.train(job, Silence(), fresh=True)
    assert sorted(path.name for path in job.out.iterdir()) == ["checkpoint.pt", "train.json"]


def test_tables_say_where_a_training_was_watched_by_what_is_reported(tmp_path: Path, cli: Any) -> None:
    metadata = {"dataset": "squares", "watched": "squares/test", "watched_reported": "yes"}

    def trained(record: Any) -> None:
        record["weights"] = {"sha256": "0" * 64, "setting": "supervised", "metadata": metadata, "path": "model"}

    run = damaged(tmp_path / "results", "trained", change_record(trained))
    shown = cli("table", "--results", tmp_path / "results")
    assert shown.returncode == 0, shown.stderr
    assert "has weights whose training was watched by squares/test." in " ".join(shown.stdout.split())
    metadata.pop("watched_reported")
    change_record(trained)(run)
    assert "watched" not in cli("table", "--results", tmp_path / "results").stdout
