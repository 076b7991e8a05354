"""Small finished runs, made once and copied for each test."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import amodal_bench as ab
from amodal_bench.masks import rle
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.results.verification.result import Verification
from amodal_bench.types import parse_id

PLUGINS = Path(__file__).parent.parent / "plugins"
FILES = tuple(PLUGINS / f"{name}.py" for name in ("squares", "dilate", "trouble"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of four runs, and the visible masks that one of them was given."""
    folder = tmp_path_factory.mktemp("verified")
    common: dict[str, Any] = {"plugins": FILES, "results": folder / "results"}
    _write_detections(folder / "detections.json", common)
    ab.bench("dilate", "squares", **common)
    ab.bench("visible", "squares", limit=10, **common)
    ab.bench("trouble", "squares", **common)
    ab.bench("visible", "squares", visible=f"predicted:{folder / 'detections.json'}", seed=1, **common)
    return folder


def _write_detections(path: Path, common: dict[str, Any]) -> None:
    """The visible masks without their first column; none for the last instance."""
    found = []
    for sample in list(prepare(Request(method="visible", dataset="squares", **common)).dataset)[:-1]:
        id = parse_id(sample.query.id)
        mask = sample.visible.copy()
        mask[:, : int(mask.any(axis=0).argmax()) + 1] = False
        code = rle.encode(mask if mask.any() else sample.visible)
        segmentation = {"size": code["size"], "counts": code["counts"].decode()}
        found.append({"image_id": id.image, "ann_id": id.annotation, "segmentation": segmentation})
    path.write_text(json.dumps(found))


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of all runs."""
    shutil.copytree(made / "results", tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def dilated(results: Path) -> Path:
    """A complete run of 24 instances."""
    return next(results.glob("squares/test/dilate/*"))


@pytest.fixture
def partial(results: Path) -> Path:
    """10 of 24 instances."""
    return next(p.parent for p in results.glob("squares/test/visible/*/run.json") if '"partial"' in p.read_text())


@pytest.fixture
def failed(results: Path) -> Path:
    """A run with three error rows."""
    return next(results.glob("squares/test/trouble/*"))


@pytest.fixture
def given(results: Path) -> Path:
    """A run whose method was given a detector's masks: sixteen counts a row."""
    return next(p.parent for p in results.glob("squares/test/visible/*/run.json") if '"complete"' in p.read_text())


@pytest.fixture
def check() -> Callable[..., Verification]:
    """`ab.verify` with the plugins that the runs used."""

    def verify(path: Path, **means: Any) -> Verification:
        return ab.verify(path, **{"plugins": FILES, **means})

    return verify
