"""A results folder from somebody else: it runs no code, opens no file that was not named here, and leads nowhere."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from amodal_bench.errors import DatasetNotReady, Refused, RunDamaged
from amodal_bench.figures.source import open_source, predicted_masks, readable_masks
from amodal_bench.resolve import known_roots
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.results.finished import FinishedRun, load
from amodal_bench.store.folder import RunFolder, find_runs
from amodal_bench.store.rows import PREDICTIONS, read_table, write_table
from tests.conftest import Cli
from tests.damages import GOLDEN, healthy, record

SQUARES = Path(__file__).parent / "plugins" / "squares.py"
EVIL = "from pathlib import Path\nPath({mark!r}).write_text('it ran')\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs on squares, as they were received."""
    return healthy(tmp_path / "results")


def change_all(results: Path, change: Callable[[dict[str, Any]], object]) -> None:
    for run in find_runs(results):
        record(change)(run.path)


def renamed(dataset: str) -> Callable[[dict[str, Any]], object]:
    return lambda r: r["spec"].update(dataset=dataset)


def loaded(results: Path) -> FinishedRun:
    return load(RunFolder(next((results / "squares" / "test" / "visible").iterdir())))


READERS = {
    "report": ("report", "--draws", "10", "--gallery", "2", "--protocol", "pooled/1"),
    "grid": ("figure", "grid"),
    "score": ("score",),
    "tables": ("tables",),
}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("given", [False, True], ids=["alone", "with --plugin"])
def test_code_that_a_record_names_is_never_imported(
    command: str, given: bool, results: Path, tmp_path: Path, cli: Cli
) -> None:
    mark, evil = tmp_path / "mark", tmp_path / "evil" / "squares.py"
    other = tmp_path / "evil" / "helper.py"
    evil.parent.mkdir()
    for path in (evil, other):
        path.write_text(EVIL.format(mark=str(mark)) + SQUARES.read_text())
    change_all(results, lambda r: r["request"].update(plugins=[str(other), str(evil)]))
    where = [results] if command == "score" else ["--results", results]
    plugin = ["--plugin", SQUARES] if given and command in ("report", "grid") else []
    done = cli(*READERS[command], *where, *plugin)
    assert not mark.exists()
    if command == "grid" and not given:
        assert done.returncode == 2
        assert "the run used the plugin squares (sha256 " in done.stderr
        assert "give it with --plugin FILE" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    if command == "report":
        assert ("the run used the plugin squares (sha256 " in done.stdout) is not given
        assert any((results / "report" / "images").iterdir()) is given


def test_a_plugin_that_is_not_the_runs_own_is_told(results: Path, tmp_path: Path) -> None:
    changed = tmp_path / "squares.py"
    changed.write_text(SQUARES.read_text() + "\n# edited\n")
    with pytest.raises(Refused, match=r"the dataset squares is the plugin of sha256 \w{12}\.\.\. here, and was the "
                       r"plugin of sha256 \w{12}\.\.\. for the run: give that with --plugin"):  # fmt: skip
        open_source(loaded(results), DataFlags(), [changed])
    change_all(results, lambda r: r["spec"].update(dataset_source=None))
    with pytest.raises(Refused, match=r"here, and was built in for the run"):
        open_source(loaded(results), DataFlags(), [SQUARES])
    change_all(results, lambda r: r["spec"].update(dataset="synthetic", dataset_source="0" * 64))
    with pytest.raises(Refused, match=r"the dataset synthetic is built in here, and was the plugin of sha256 0000"):
        open_source(loaded(results), DataFlags())


def test_options_that_the_run_did_not_have_open_nothing(results: Path) -> None:
    change_all(results, lambda r: r["request"].update(options={"count": 3000}))
    with pytest.raises(DatasetNotReady, match=r"the dataset's options in .* are not those that its run was made with"):
        open_source(loaded(results), DataFlags(), [SQUARES])
    change_all(results, lambda r: r["request"].update(options={"cuont": 1}))
    with pytest.raises(Refused, match="unknown parameter of dataset 'squares'"):
        open_source(loaded(results), DataFlags(), [SQUARES])


def test_a_file_of_visible_masks_is_opened_only_if_it_is_the_runs(results: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('[{"image_id": "00", "ann_id": "0", "segmentation": "the password"}]')
    change_all(results, lambda r: (r["request"].update(visible=f"predicted:{secret}"),
                                   r["spec"].update(visible="predicted:" + "0" * 64)))  # fmt: skip
    with pytest.raises(
        DatasetNotReady, match=r"the visible masks that the run was given \(predicted:0+\.\.\.\)"
    ) as told:
        open_source(loaded(results), DataFlags(), [SQUARES])
    assert "password" not in str(told.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A dataset in folders, one object in the middle of each photo."""
    root = tmp_path / "photos"
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:15, 5:15] = 255
    for kind, picture in (("image", np.full((20, 20, 3), 90, np.uint8)), ("amodal", mask), ("visible", mask)):
        (root / "test" / kind).mkdir(parents=True)
        for name in ("a", "b"):
            PIL.Image.fromarray(picture).save(root / "test" / kind / f"{name}.png")
    return root


def test_own_runs_find_their_pictures_and_received_ones_only_what_is_named(
    photos: Path, tmp_path: Path, cli: Cli
) -> None:
    own = {"AMODAL_BENCH_CACHE": str(tmp_path / "cache")}
    stranger = {"AMODAL_BENCH_CACHE": str(tmp_path / "cache of a stranger")}
    results = tmp_path / "results"
    made = cli("bench", "-m", "visible", "-d", "folder", "--root", photos, "--results", results, **own)
    assert made.returncode == 0, made.stderr

    def report(*flags: str | Path, **environment: str) -> tuple[int, str]:
        done = cli("report", "--results", results, "--draws", 10, "--gallery", 2, *flags, **environment)
        assert done.returncode == 0, done.stderr
        return len(list((results / "report" / "images").iterdir())), done.stdout

    assert report(**own)[0] > 0
    pictures, said = report(**stranger)
    assert pictures == 0
    assert "No pictures: " in said
    assert str(photos) not in said, "what the record names was not looked at"
    assert report("--root", photos, **stranger)[0] > 0
    assert report(**stranger)[0] == 0, "looking is not running: only bench remembers"


def test_what_is_remembered_belongs_to_the_name_and_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path / "cache"))
    flags = DataFlags(root=tmp_path, image_root=tmp_path / "images")
    known_roots.remember("kins", "f" * 64, flags)
    assert known_roots.remembered("kins", "f" * 64) == flags
    assert known_roots.remembered("kins", "../" * 9) == known_roots.remembered("coco_a", "f" * 64) == DataFlags()
    (note,) = (tmp_path / "cache" / "places").iterdir()
    for damage in (b"", b"[]", b"null", b'{"root": 3}', b'{"root": "/no/such"}', b"\xff"):
        note.write_bytes(damage)
        assert known_roots.remembered("kins", "f" * 64) == DataFlags()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (b"", "holds no prediction for squares/test/00/0"),
        (b"0", "RLE runs add up to 0 pixels, the image has 768"),
        (b"PPPPPPPPYYYY1", "RLE"),
        (b"\xff\xfe", "not a COCO compressed string"),
        (b"oooooooooooooooo0", "more than 60 bits"),
    ],
)
def test_predictions_are_checked_before_they_are_decoded(code: bytes, told: str, results: Path) -> None:
    change_all(results, lambda r: r.update(tables={}))  # whoever edits a table can edit its digest
    run = loaded(results)
    path = run.folder.path / "predictions.parquet"
    table = read_table(path, PREDICTIONS)
    column = pa.array([code, *table["counts"].to_pylist()[1:]], PREDICTIONS.field("counts").type)
    write_table(path, table.set_column(2, PREDICTIONS.field("counts"), column))
    with pytest.raises(RunDamaged, match=told):
        predicted_masks(run, ["squares/test/00/0", "squares/test/01/1"])
    whole = load(RunFolder(next((results / "squares" / "test" / "dilate").iterdir())))
    found, left_out = readable_masks([run, whole], ["squares/test/00/0"])
    assert (list(found), len(left_out)) == ([whole.label], 1)


def test_an_image_that_cannot_be_is_no_reason_to_fill_the_memory(results: Path) -> None:
    run = loaded(results)
    run.instances["height"] = 2**31 - 1
    run.instances["width"] = 2**31 - 1
    with pytest.raises(RunDamaged, match=r"an image of 2\.147.* pixels cannot be"):
        predicted_masks(run, ["squares/test/00/0"])


@pytest.mark.parametrize(
    ("command", "link"),
    [("report", "report"), ("report", "report/images"), ("bars", "report"), ("bars", "report/figures"),
     ("tables", "tables")],
)  # fmt: skip
def test_a_link_in_the_folder_leads_nothing_out_of_it(
    command: str, link: str, results: Path, tmp_path: Path, cli: Cli
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "0-0000-0.jpg").write_bytes(b"a photo of my own")
    (mine / "index.html").write_text("my page")
    (results / link).parent.mkdir(exist_ok=True)
    (results / link).symlink_to(mine, target_is_directory=True)
    arguments = {"bars": ("figure", "bars"), "tables": ("tables",), "report": ("report", "--plugin", SQUARES)}[command]
    done = cli(*arguments, "--results", results)
    assert done.returncode == 2
    assert f"leads to {mine}" in done.stderr
    assert sorted(path.name for path in mine.iterdir()) == ["0-0000-0.jpg", "index.html"]
    assert (mine / "index.html").read_text() == "my page"


def test_a_link_in_place_of_a_figure_is_replaced_not_followed(results: Path, tmp_path: Path, cli: Cli) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    folder = results / "report" / "figures"
    folder.mkdir(parents=True)
    (folder / "bars.png").symlink_to(mine)
    done = cli("figure", "bars", "--results", results)
    assert done.returncode == 0, done.stderr
    assert mine.read_bytes() == b"mine"
    assert not (folder / "bars.png").is_symlink()


def test_what_a_record_calls_its_data_stays_one_name_in_the_folder(results: Path, tmp_path: Path, cli: Cli) -> None:
    """Two blocks whose names become the same file's name, one with dots, one very long."""
    for number, name in enumerate(("../../up", "..-..-up", "x" * 500, "a.b")):
        run = results / "squares" / "test" / "visible" / f"{number:012x}"
        shutil.copytree(next((GOLDEN / "visible").iterdir()), run)
        record(renamed(name))(run)
    before = {path for path in tmp_path.rglob("*") if "report" not in path.parts}
    done = cli("figure", "curve", "-m", "visible", "--results", results)
    assert done.returncode == 0, done.stderr
    written = [Path(line) for line in done.stdout.splitlines()]
    assert len(set(written)) == 10
    assert all(path.is_file() and path.parent == results / "report" / "figures" for path in written)
    assert {path for path in tmp_path.rglob("*") if "report" not in path.parts} == before


def test_a_root_is_of_one_dataset(results: Path, cli: Cli, tmp_path: Path) -> None:
    run = results / "other" / "test" / "visible" / ("0" * 12)
    shutil.copytree(next((GOLDEN / "visible").iterdir()), run)
    record(lambda r: r["spec"].update(dataset="other"))(run)
    done = cli("report", "--results", results, "--root", tmp_path)
    assert done.returncode == 2
    assert "--root is one dataset's folder, these runs are on other, squares: use --data-root" in done.stderr
    assert not (results / "report").exists()
