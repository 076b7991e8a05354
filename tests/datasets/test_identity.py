"""A dataset is its contents, in every layout: what one set of files left in the cache never serves another."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.datasets.folder import Folder
from amodal_bench.errors import DatasetNotReady
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import export, find_format, format_names, prepare
from amodal_bench.types import AmodalQuery, AmodalSample

REGISTRY = Registry([Path(__file__).parent.parent / "plugins" / "squares.py"])
FORMATS = sorted(format_names(REGISTRY))


def turned(base: AnyDataset) -> AnyDataset:
    """The same instances upside down."""
    kind: Any = type(base)

    class Turned(kind):  # type: ignore[misc]
        def __getitem__(self, index: int) -> AmodalSample:
            sample = super().__getitem__(index)
            old = sample.query
            query = AmodalQuery(old.id, old.image_id, old.image[::-1], sample.visible[::-1], old.category)
            return AmodalSample(query, sample.amodal[::-1], sample.is_stuff)

    dataset: AnyDataset = Turned(base.location, base.split, base.options)
    return dataset


def opened(format: str, root: Path) -> AnyDataset:
    """The split that was written; of pix2gestalt, which shares instances out, the larger."""
    name = find_format(format, REGISTRY).dataset
    splits = REGISTRY.dataset(name).cls.card.splits
    split = "test" if "test" in splits else None
    return open_dataset(name, REGISTRY, split, {}, DataFlags(root=root))[0]


def masks(dataset: AnyDataset) -> bytes:
    return b"".join(np.packbits([sample.visible, sample.amodal]).tobytes() for sample in dataset)


def pixels(dataset: AnyDataset) -> bytes:
    return b"".join(sample.query.image.tobytes() for sample in dataset)


@pytest.fixture
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Two datasets in one layout that differ in what their files hold, not in a file's name, size or time."""
    base = open_dataset("squares", REGISTRY, None, {}, DataFlags(root=tmp_path))[0]
    for name, dataset in (("one", base), ("two", turned(base))):
        layout = find_format(request.param, REGISTRY)
        export(prepare(dataset, layout, tmp_path / name, REGISTRY, limit=4))
    for first in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        second = tmp_path / "two" / first.relative_to(tmp_path / "one")
        size = max(first.stat().st_size, second.stat().st_size)
        filler = b" " if first.suffix == ".json" else b"\0"  # readers of images and pickles stop before it
        for path in {path.resolve(): path for path in (first, second)}.values():
            path.write_bytes(path.read_bytes().ljust(size, filler))
        shutil.copystat(first, second)
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.parametrize(("twins", "format"), [(name, name) for name in FORMATS], indirect=["twins"], ids=FORMATS)
def test_no_dataset_is_served_what_another_left(
    twins: tuple[Path, Path], format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = twins
    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path / "fresh"))
    truth = opened(format, two)
    expected = masks(truth), pixels(truth), truth.fingerprint()
    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path / "cache"))
    first = opened(format, one)
    assert masks(first) != expected[0]
    assert first.fingerprint() != expected[2]
    second = opened(format, two)
    assert (masks(second), pixels(second), second.fingerprint()) == expected
    for path in (path for path in two.rglob("*") if path.is_file()):
        copied = one / path.relative_to(two)
        copied.write_bytes(path.read_bytes())  # in place, and with the old time
        shutil.copystat(path, copied)
    replaced = opened(format, one)
    assert (masks(replaced), pixels(replaced), replaced.fingerprint()) == expected


@pytest.mark.parametrize("twins", ["folder"], indirect=True)
def test_files_that_change_while_they_are_indexed_are_refused(
    twins: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = twins
    measure = Folder._measure

    def disturbed(self: Folder) -> Any:
        table = measure(self)
        shutil.copytree(two, one, dirs_exist_ok=True)
        return table

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_measure", disturbed)
        with pytest.raises(DatasetNotReady, match="files changed while they were read"):
            opened("folder", one)
    assert masks(opened("folder", one)) == masks(opened("folder", two))


# Specimens


def visible_iou(name: str, root: Path) -> list[float]:
    """In per cent, of the visible mask taken for the amodal one."""
    dataset = open_dataset(name, REGISTRY, None, {}, DataFlags(root=root))[0]
    return [round(100 * float((s.visible & s.amodal).sum() / (s.visible | s.amodal).sum()), 2) for s in dataset]


def test_specimens_of_one_size_keep_their_own_numbers(cases: Path) -> None:
    assert visible_iou("sailvos", cases / "sail_x") == [62.5]
    assert visible_iou("sailvos", cases / "sail_y") == [20.0]


def test_a_specimen_that_is_replaced_in_place_gets_the_new_number(cases: Path, tmp_path: Path) -> None:
    root = shutil.copytree(cases / "sail_x", tmp_path / "sail", copy_function=shutil.copyfile)
    shutil.copystat(cases / "sail_x", root)
    root.chmod(0o755)
    assert visible_iou("sailvos", root) == [62.5]
    shutil.copyfile(cases / "sail_same/val/ah_1/visible/000001.npy", root / "val/ah_1/visible/000001.npy")
    assert visible_iou("sailvos", root) == [20.0]
