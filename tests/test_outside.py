"""Presets, protocols, tables and training files that lie outside the package: by file, by folder, by distribution."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import amodal_bench as ab
from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.files.package import CONFIGS
from amodal_bench.metrics.protocol import find_protocol, protocols
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.tables.spec import find_table, tables

METHOD = '''
"""Every pixel of the frame."""

import numpy as np

from amodal_bench.plugin import Method, MethodCard, Settings


class Params(Settings):
    margin: int = 0


class Frame(Method[Params]):
    card = MethodCard(title="The whole frame")
    Params = Params

    def predict(self, queries, seeds):
        return [self._frame(query.visible) for query in queries]

    def _frame(self, visible):
        inner = slice(self.params.margin, -self.params.margin or None)
        filled = np.zeros_like(visible)
        filled[inner, inner] = True
        return filled
'''
DATASET = '''
"""Four scenes of one plate, of which the right part is hidden."""

import numpy as np

from amodal_bench.plugin import Dataset, DatasetCard, Settings
from amodal_bench.types import AmodalQuery, AmodalSample


class Plates(Dataset[Settings]):
    card = DatasetCard(title="Plates", splits={"test": {}}, default_split="test", embedded=True)

    def ids(self):
        return [self.id_of(k, 0) for k in range(4)]

    def fingerprint(self):
        return "0" * 64

    def __getitem__(self, index):
        amodal = np.zeros((8, 8), dtype=np.bool_)
        amodal[2:6, 2:6] = True
        visible = amodal.copy()
        visible[:, 6 - index :] = False
        return AmodalSample(AmodalQuery(self.ids()[index], str(index), np.zeros((8, 8, 3), np.uint8), visible), amodal)
'''
PRESET = "method: frame\ntitle: The frame but for its edge\nparams: {margin: 2}\n"
PROTOCOL = "id: strict/1\ntitle: more than four hidden pixels\nsource: a test\nmin_hidden: 4\n"
TABLE = """
name: own
paper: own
table: "1"
title: Plates
source: a test
default_protocol: strict/1
columns:
  - {dataset: Plates, dataset_key: plates, split: test}
  - {dataset: Plates, metric: mIoU_inv, dataset_key: plates, split: test}
rows:
  - {id: edge, method: Edge, preset: edge, printed: {Plates/mIoU_full: 90.0}, origin: guess}
origins:
  guess: {basis: unknown, evidence: nobody printed it}
"""
Here = Callable[..., Path]
Cli = Callable[..., Any]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands run, with a method and a dataset of one file each."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "frame.py").write_text(METHOD)
    (folder / "plates.py").write_text(DATASET)
    return folder


def shelved(desk: Path, **texts: str) -> Path:
    """A folder `own` that amodal-bench.yaml names, with files like methods/edge.yaml (`methods_edge`)."""
    (desk / "amodal-bench.yaml").write_text("configs: [own]\nresults: kept\n")
    for name, text in texts.items():
        kind, stem = name.split("_", 1)
        path = desk / "own" / kind / f"{stem.replace('_', '-')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return desk / "own"


PLUGINS = ("--plugin", "frame.py", "--plugin", "plates.py")


def test_a_file_each_adds_a_method_a_dataset_a_preset_a_protocol_and_a_table(desk: Path, cli: Cli) -> None:
    (desk / "edge.yaml").write_text(PRESET)
    (desk / "strict.yaml").write_text(PROTOCOL)
    (desk / "own.yaml").write_text(TABLE.replace("strict/1", "instance-mean/1:min_hidden=4"))
    ran = cli("bench", "-m", "edge.yaml,frame", "-d", "plates", *PLUGINS, "--protocol", "strict.yaml,pooled")
    assert ran.returncode == 0, ran.stderr
    assert "plates/test  protocol strict/1: more than four hidden pixels" in ran.stdout
    assert "protocol pooled/1" in ran.stdout
    told = cli("table", "--spec", "own.yaml")
    assert told.returncode == 0, told.stderr
    assert "| Edge |  | 90.0 <sup>a</sup> | 100.0 " in told.stdout
    written = cli("tables", "own.yaml")
    assert written.returncode == 0, written.stderr
    assert "own: 2 of 2 cells measured" in written.stdout
    assert "instance-mean/1:min_hidden=4" in (desk / "results" / "tables" / "own.csv").read_text()
    scored = cli("score", next((desk / "results").rglob("run.json")).parent, "--protocol", "strict.yaml")
    assert scored.returncode == 0, scored.stderr


def test_a_preset_of_a_file_is_kept_in_the_record_and_its_numbers_in_the_key(desk: Path) -> None:
    (desk / "edge.yaml").write_text(PRESET)
    request: dict[str, Any] = {"dataset": "plates", "plugins": (desk / "frame.py", desk / "plates.py")}
    run = ab.bench("edge.yaml", **request)
    record = run.record
    assert (record["preset"], record["request"]["method"]) == ("edge", "edge")
    assert record["request"]["preset"]["params"] == record["spec"]["params"] == {"margin": 2}
    by_hand = prepare(Request.model_validate({**request, "method": "frame", "params": {"margin": 2}}))
    assert by_hand.spec.key() == run.path.name
    (desk / "edge.yaml").unlink()
    again = prepare(Request.model_validate({**record["request"], "results": desk / "results"}))
    assert (again.preset.name, again.spec.key()) == ("edge", run.path.name)
    assert ab.verify(run.path, plugins=(desk / "frame.py", desk / "plates.py")).ok


def test_folders_of_the_machines_file_are_found_by_name_and_listed(desk: Path, cli: Cli) -> None:
    own = {"methods_edge": PRESET, "protocols_strict_1": PROTOCOL, "tables_own": TABLE, "train_edge": "title: brief\n"}
    shelved(desk, **own)
    ran = cli("bench", "-m", "edge", "-d", "plates", *PLUGINS, "--protocol", "strict")
    assert ran.returncode == 0, ran.stderr
    assert cli("tables").returncode == 0
    assert "strict/1" in (desk / "kept" / "tables" / "own.csv").read_text()
    listed = cli("list", "--plugin", "frame.py", COLUMNS="250")
    assert listed.returncode == 0, listed.stderr
    lines = [" ".join(line.split()) for line in listed.stdout.splitlines()]
    assert "edge The frame but for its edge nothing ready own" in lines
    assert "frame The whole frame nothing ready frame.py" in lines
    assert "strict/1 more than four hidden pixels own" in lines
    assert "own Plates own" in lines
    assert "edge brief own" in lines
    assert "broken" not in listed.stdout


def test_the_library_keeps_runs_where_the_command_line_does(desk: Path) -> None:
    shelved(desk, methods_edge=PRESET)
    run = ab.bench("edge", "plates", plugins=(desk / "frame.py", desk / "plates.py"))
    assert run.path.relative_to("kept").parts[:3] == ("plates", "test", "edge")
    other = ab.bench("edge", "plates", plugins=(desk / "frame.py", desk / "plates.py"), results=Path("elsewhere"))
    assert other.path.is_relative_to("elsewhere")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("protocols_odd_1", "id: odd/1\ntitle: t\nsource: s\nagregate: mean\n", "odd-1.yaml: not a protocol: "),
        ("protocols_odd_1", "id: [\n", "odd-1.yaml: not a protocol: it is not YAML: "),
        ("protocols_odd_1", PROTOCOL, "odd-1.yaml: the file of protocol 'strict/1' must be called strict-1.yaml"),
        ("methods_odd", "methd: visible\n", "odd.yaml: not a preset: "),
        ("tables_odd", "name: even\n", "odd.yaml: not a table: "),
        ("train_odd", "epochs: 3\n", "odd.yaml: not a training file: "),
        ("protocols_pooled_1", PROTOCOL, "2 protocols are called 'pooled-1', "),
    ],
)
def test_a_broken_file_is_named_where_it_is_listed_and_stops_nothing_else(
    name: str, text: str, fault: str, desk: Path, cli: Cli
) -> None:
    shelved(desk, **{name: text}, protocols_fine_1=PROTOCOL.replace("strict/1", "fine/1"))
    listed = cli("list")
    assert listed.returncode == 0, listed.stderr
    assert "broken, see below" in listed.stdout
    assert fault in listed.stdout
    assert "fine/1" in listed.stdout
    ran = cli("bench", "-m", "visible", "-d", "plates", *PLUGINS, "--protocol", "fine,instance-mean")
    assert ran.returncode == 0, ran.stderr
    assert {"fine/1", "instance-mean/1"} <= set(protocols())
    written = cli("tables")
    assert written.returncode == 0, written.stderr
    assert ("left out: own/tables/odd.yaml: not a table" in written.stdout) == (name == "tables_odd")


def test_a_broken_file_is_named_where_it_is_asked_for(desk: Path) -> None:
    shelved(desk, protocols_odd_1="id: odd/1\n", tables_odd="name: odd\n", methods_odd="params: {}\n")
    with pytest.raises(Refused, match=r"own/protocols/odd-1\.yaml: not a protocol: (.|\n)*title"):
        find_protocol("odd")
    with pytest.raises(Refused, match=r"own/tables/odd\.yaml: not a table: (.|\n)*paper"):
        find_table("odd")
    with pytest.raises(Refused, match=r"own/methods/odd\.yaml: not a preset: (.|\n)*method"):
        find_preset("odd", Registry())
    assert "odd" not in tables()


@pytest.mark.parametrize("how", ["a folder", "a file"])
def test_two_files_of_one_name_are_refused_by_both(how: str, desk: Path) -> None:
    own = desk / "own"
    shelved(desk, methods_sam_vit_b=PRESET, protocols_pooled_1=PROTOCOL.replace("strict/1", "pooled/1"),
            tables_conddiff_1=TABLE)  # fmt: skip
    prefix = ""
    if how == "a file":
        (desk / "amodal-bench.yaml").unlink()
        prefix = f"{own}/"
    ending = ".yaml" if prefix else ""
    finds: list[tuple[Callable[[str], Any], str, str]] = [
        (lambda name: find_preset(name, Registry()), "methods/sam-vit-b", "presets"),
        (find_protocol, "protocols/pooled-1" if prefix else "protocols/pooled/1", "protocols"),
        (find_table, "tables/conddiff-1", "tables"),
    ]
    for find, name, kind in finds:
        given = f"{prefix}{name}{ending}" if prefix else name.split("/", 1)[1]
        stem = name.split("/", 1)[1].replace("/", "-")
        with pytest.raises(
            Refused, match=rf"2 {kind} are called '{stem}', .*/configs/.*{stem}\.yaml and .*own/.*{stem}"
        ):
            find(given)


def test_a_preset_called_like_a_method_is_refused(desk: Path) -> None:
    (desk / "visible.yaml").write_text("method: convex_hull\n")
    with pytest.raises(Refused, match=r"visible\.yaml: there is a method 'visible' already: give the preset"):
        find_preset("visible.yaml", Registry())


def test_the_packages_own_file_may_be_named_by_its_path() -> None:
    assert find_protocol(str(CONFIGS / "protocols" / "pooled-1.yaml")) == find_protocol("pooled/1")
    assert find_preset(str(CONFIGS / "methods" / "sam-vit-b.yaml"), Registry()).name == "sam-vit-b"


def test_a_file_that_is_not_there_is_refused(desk: Path, cli: Cli) -> None:
    for arguments in (
        ("bench", "-m", "gone.yaml"),
        ("bench", "-m", "visible", "--protocol", "gone.yaml"),
        ("table", "--spec", "gone.yaml"),
        ("tables", "gone.yaml"),
        ("train", "-m", "conddiff", "--config", "gone.yaml"),
    ):
        done = cli(*arguments)
        assert done.returncode == 2
        assert "gone.yaml: no such file" in done.stderr
    assert sorted(path.name for path in desk.iterdir()) == ["frame.py", "plates.py"]


@pytest.mark.parametrize(
    ("folder", "fault"),
    [("gone", "no such folder"), (".", "it holds none of the folders methods/, protocols/, tables/, train/")],
)
def test_a_folder_that_holds_nothing_is_refused(folder: str, fault: str, desk: Path) -> None:
    (desk / "amodal-bench.yaml").write_text(f"configs: [{folder}]\n")
    with pytest.raises(Refused, match=rf"amodal-bench\.yaml: configs: {folder.replace('.', '[.]')}: {fault}"):
        configs.names("protocols")


def test_a_training_takes_its_file_from_anywhere(desk: Path, cli: Cli, plugins: Path) -> None:
    (desk / "brief.yaml").write_text("training: {epochs: 3}\n")
    scratch = ("--set", "train.backbone_weights=none")
    arguments = (
        "train",
        "-m",
        "conddiff",
        "-d",
        "squares",
        "--split",
        "test",
        *scratch,
        "--plugin",
        plugins / "squares.py",
    )
    told = cli(*arguments, "--config", "brief.yaml", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert '"epochs": 3' in told.stdout
    shelved(desk, methods_small="method: conddiff\n", train_small="training: {epochs: 5}\n")
    told = cli("train", "-m", "small", *arguments[3:], "--dry-run")
    assert told.returncode == 0, told.stderr
    assert '"epochs": 5' in told.stdout


def test_a_preset_that_is_built_in_is_not_copied_into_the_record(desk: Path) -> None:
    run = ab.bench("visible", "plates", plugins=(desk / "plates.py",))
    assert json.loads((run.path / "run.json").read_text())["request"]["preset"] is None


def test_spec_and_the_choices_that_it_makes_exclude_one_another(desk: Path, cli: Cli) -> None:
    (desk / "own.yaml").write_text(TABLE)
    done = cli("table", "--spec", "own.yaml", "--method", "visible")
    assert done.returncode == 2
    assert "the file of the table own.yaml says which rows, columns and protocols: leave out --method" in done.stderr


def test_a_changed_protocol_is_ranked_with_no_other(desk: Path, cli: Cli) -> None:
    ab.bench("visible", "plates", plugins=(desk / "plates.py",))
    ab.bench("convex_hull", "plates", plugins=(desk / "plates.py",))
    told = cli("table", "--protocol", "instance-mean/1,instance-mean/1:min_hidden=4,paste=true")
    assert told.returncode == 0, told.stderr
    assert "instance-mean/1:min_hidden=4,paste=true" in told.stdout
    with pytest.raises(UnknownName, match="unknown protocol 'instance-men/1'"):
        find_protocol("instance-men/1:min_hidden=4")
