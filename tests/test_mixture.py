"""Several datasets trained on as one: ids, groups, options, and where the weights are found again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.errors import Refused
from amodal_bench.resolve.locate import DataFlags, find_checkpoint
from amodal_bench.resolve.mixture import Mixture, open_parts, options_of, splits_of
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry

TWINS = """
import numpy as np
from amodal_bench.plugin import Dataset, DatasetCard, Settings
from amodal_bench.types import AmodalQuery, AmodalSample

class Options(Settings):
    count: int = 2

class Twin(Dataset[Options]):
    card = DatasetCard(title="{title}", splits={{{splits}}}, default_split="train", embedded=True)
    Options = Options
    def ids(self): return [self.id_of(image, 0) for image in range(self.options.count)]
    def fingerprint(self): return "{title}"
    def __getitem__(self, index):
        mask = np.ones((4, 4), dtype=bool)
        image = np.full((4, 4, 3), {grey} + index, dtype=np.uint8)
        return AmodalSample(AmodalQuery(self.ids()[index], str(index), image, mask, "{title}"), mask)
"""


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    files = []
    for title, grey, splits in (
        ("ants", 10, '"train": {}, "val": {}'),
        ("bees", 50, '"val": {}, "train": {}, "x": {}'),
    ):
        path = tmp_path / f"{title}.py"
        path.write_text(TWINS.format(title=title, grey=grey, splits=splits))
        files.append(path)
    return Registry(tuple(files))


def opened(registry: Registry, name: str = "ants+bees", **options: Any) -> Any:
    return open_parts(name, registry, "train", options, DataFlags())[0]


def test_one_after_the_other_with_their_own_ids(registry: Registry) -> None:
    data = opened(registry, bees={"count": 3})
    assert isinstance(data, Mixture)
    assert data.ids() == ["ants/train/0/0", "ants/train/1/0", "bees/train/0/0", "bees/train/1/0", "bees/train/2/0"]
    assert [sample.query.image[0, 0, 0] for sample in data] == [10, 11, 50, 51, 52]
    assert [sample.query.id for sample in data] == data.ids()
    assert data[-1].query.id == "bees/train/2/0"
    assert [data.category_of(index) for index in (1, 2)] == ["ants", "bees"]
    assert [data.group(id) for id in (data.ids()[0], data.ids()[2])] == ["ants/0", "bees/0"]
    assert [id for id, _, _ in data.codes()] == data.ids()
    assert options_of(data) == {"ants": {"count": 2}, "bees": {"count": 3}}
    with pytest.raises(IndexError):
        data[5]


def test_one_name_is_the_dataset_itself(registry: Registry) -> None:
    data = opened(registry, "bees", count=1)
    assert not isinstance(data, Mixture)
    assert options_of(data) == {"count": 1}


def test_the_fingerprint_is_of_all_parts_in_their_order(registry: Registry) -> None:
    prints = {opened(registry, name).fingerprint() for name in ("ants+bees", "bees+ants", "ants")}
    assert len(prints) == 3


def test_splits_are_those_that_all_have(registry: Registry) -> None:
    assert splits_of("ants+bees", registry) == ["train", "val"]
    assert splits_of("bees", registry) == ["val", "train", "x"]


@pytest.mark.parametrize(
    ("name", "options", "flags", "text"),
    [
        ("ants+ants", {}, DataFlags(), "--dataset ants,ants: a dataset is named twice"),
        ("ants+bees", {}, DataFlags(root=Path("x")), "--root and --image-root are of one dataset"),
        ("ants+bees", {"count": 3}, DataFlags(), "say whose option it is: --set dataset.ants.KEY=VALUE"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    registry: Registry, name: str, options: Any, flags: DataFlags, text: str
) -> None:
    with pytest.raises(Refused) as caught:
        open_parts(name, registry, "train", options, flags)
    assert text in str(caught.value)


def weights(folder: Path, trainset: str) -> Path:
    from safetensors.numpy import save_file

    path = folder / "conddiff" / trainset / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"x": np.zeros(1, dtype=np.float32)}, path, {"dataset": trainset})
    return path


def test_weights_of_a_training_on_several_are_found_for_each(tmp_path: Path) -> None:
    preset = find_preset("conddiff", Registry(), {})
    together = weights(tmp_path, "d2sa+kins")
    for dataset in ("kins", "d2sa"):
        found = find_checkpoint(preset, dataset, None, tmp_path)
        assert found is not None
        assert found.path == together
        assert found.setting(dataset) == "supervised"
        assert found.setting("mp3d") == "zero-shot"
    alone = weights(tmp_path, "kins")
    found = find_checkpoint(preset, "kins", None, tmp_path)
    assert found is not None
    assert found.path == alone
    weights(tmp_path, "coco_a+d2sa")
    with pytest.raises(Refused, match=r"weights of 2 trainings hold 'd2sa': .*Name one with --checkpoint FILE"):
        find_checkpoint(preset, "d2sa", None, tmp_path)
