"""What every dataset must do: refuse in full where its files are missing, and keep its ids in order where not."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from amodal_bench.errors import DatasetNotReady, Refused, UnknownName
from amodal_bench.plugin import AnyDataset, Location
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import export, find_format, format_names, prepare
from amodal_bench.types import parse_id

Cli = Callable[..., CompletedProcess[str]]
REGISTRY = Registry()
DATASETS = REGISTRY.names("datasets")


def embedded(name: str) -> bool:
    """False for one that cannot be imported, which the tests by name then show."""
    try:
        return REGISTRY.dataset(name).cls.card.embedded
    except (Refused, ImportError, SyntaxError):
        return False


EMBEDDED = [name for name in DATASETS if embedded(name)]
FROM_FILES = [name for name in DATASETS if name not in EMBEDDED]


# Datasets with files: the refusal where there are none.


@pytest.mark.parametrize("name", FROM_FILES)
def test_missing_files_are_told_in_full(name: str, tmp_path: Path) -> None:
    card, root = REGISTRY.dataset(name).cls.card, tmp_path / "root"
    root.mkdir()
    (root / "README.txt").write_text("something else")
    with pytest.raises(DatasetNotReady) as caught:
        open_dataset(name, REGISTRY, None, {}, DataFlags(root=root))
    text = str(caught.value)
    assert str(root) in text
    assert "README.txt" in text
    assert [line for line in card.tree.strip("\n").splitlines() if line.strip() not in text] == []
    assert card.get in text
    assert card.licence in text
    assert [path.name for path in root.iterdir()] == ["README.txt"]


@pytest.mark.parametrize("name", FROM_FILES)
def test_the_command_line_refuses_before_anything_is_written(name: str, cli: Cli, tmp_path: Path) -> None:
    root, results = tmp_path / "nowhere", tmp_path / "results"
    done = cli("bench", "--method", "visible", "--dataset", name, "--root", root, "--results", results)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("amodal-bench: ")
    assert "the folder does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert not root.exists()
    assert not results.exists()


@pytest.mark.parametrize("name", DATASETS)
def test_an_unknown_split_is_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    card = REGISTRY.dataset(name).cls.card
    with pytest.raises(UnknownName) as caught:
        open_dataset(name, REGISTRY, "no-such-split", {}, DataFlags(root=tmp_path))
    assert str(caught.value).startswith(f"unknown split of {card.title} 'no-such-split'.")
    assert str(caught.value).endswith(f"Known: {', '.join(sorted(card.splits))}.")


@pytest.mark.parametrize("name", DATASETS)
def test_an_unknown_option_is_refused_with_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no_such_option.*Known: "):
        open_dataset(name, REGISTRY, None, {"no_such_option": 1}, DataFlags(root=tmp_path))


# Datasets without files: they can be opened anywhere.


def small(name: str) -> dict[str, int]:
    """Options with which a dataset that draws its pictures draws few pixels: those that test_nano takes, drawn once."""
    return {"resolution": 128} if "resolution" in REGISTRY.dataset(name).cls.Options.model_fields else {}


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("which", ["default", "first"])
def test_an_embedded_dataset_opens_anywhere(name: str, which: str, tmp_path: Path) -> None:
    card = REGISTRY.dataset(name).cls.card
    split = card.default_split if which == "default" else next(iter(card.splits))
    root, options = tmp_path / "nowhere", small(name)
    dataset, _, _ = open_dataset(name, REGISTRY, split, options, DataFlags(root=root))
    check_ids(name, split, dataset)
    assert re.fullmatch(r"[0-9a-f]{64}", dataset.fingerprint())
    sample = dataset[0]
    assert sample.query.id == dataset.ids()[0]
    assert sample.query.image_id == parse_id(sample.query.id).image
    assert 0 <= sample.occlusion_rate < 1
    assert not root.exists()
    again, _, _ = open_dataset(name, REGISTRY, split, options, DataFlags(root=root))
    assert again.fingerprint() == dataset.fingerprint()
    assert np.array_equal(again[0].query.image, sample.query.image)
    assert np.array_equal(again[0].amodal, sample.amodal)


def check_ids(name: str, split: str, dataset: AnyDataset) -> None:
    ids = list(dataset.ids())
    assert len(ids) == len(dataset) == len(set(ids)) == dataset.funnel.kept > 0
    parts = [parse_id(id) for id in ids]
    assert {(part.dataset, part.split) for part in parts} == {(name, split)}
    images = [image for image, _ in groupby(part.image for part in parts)]
    assert len(images) == len(set(images)), "the instances of an image must stand together"


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_datasets_published_count_holds(name: str, tmp_path: Path) -> None:
    card = REGISTRY.dataset(name).cls.card
    dataset, _, _ = open_dataset(name, REGISTRY, None, {}, DataFlags(root=tmp_path))
    published = card.splits[card.default_split]
    assert published.get("instances", len(dataset)) == len(dataset)


# Ids: an adapter that is copied under another name has ids of its own.


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_copy_of_an_embedded_dataset_has_ids_of_its_own(name: str, tmp_path: Path) -> None:
    cls = REGISTRY.dataset(name).cls
    cache = Path(os.environ["AMODAL_BENCH_CACHE"])  # which another test filled: what is rendered holds no ids
    options = cls.Options.model_validate(small(name))
    copy = cls(Location(name="a_copy", root=tmp_path, cache=cache), cls.card.default_split, options)
    check_ids("a_copy", cls.card.default_split, copy)
    assert copy[0].query.id == copy.ids()[0]


@pytest.mark.parametrize("format", sorted(format_names(REGISTRY)))
def test_a_copy_of_a_dataset_with_files_has_ids_of_its_own(format: str, plugins: Path, tmp_path: Path) -> None:
    squares = Registry([plugins / "squares.py"])
    source, _, _ = open_dataset("squares", squares, None, {"count": 12}, DataFlags())
    layout = find_format(format, REGISTRY)
    export(prepare(source, layout, tmp_path / "out", REGISTRY))
    cls = REGISTRY.dataset(layout.dataset).cls
    for split in cls.card.splits:
        try:
            own, _, _ = open_dataset(layout.dataset, REGISTRY, split, {}, DataFlags(root=tmp_path / "out"))
        except DatasetNotReady:
            continue
        copy = cls(replace(own.location, name="a_copy"), split, own.options)
        assert [id.split("/", 1)[1] for id in copy.ids()] == [id.split("/", 1)[1] for id in own.ids()]
        check_ids("a_copy", split, copy)
        assert copy[0].query.id == copy.ids()[0]


def test_ids_of_another_dataset_are_refused_with_the_first_of_them(plugins: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cubes.py"
    shutil.copy(plugins / "squares.py", copy)
    with pytest.raises(
        Refused,
        match=r"the dataset 'cubes' gives ids of another: the first is 'squares/test/00/0', expected "
        r"cubes/test/IMAGE/ANN; make them with self\.id_of\(image, annotation\)",
    ):
        open_dataset("cubes", Registry([copy]), None, {}, DataFlags())
