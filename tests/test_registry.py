from pathlib import Path

import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.methods.visible import Visible
from amodal_bench.resolve.registry import Registry


def test_the_class_that_is_imported_is_the_one_the_registry_finds() -> None:
    plugin = Registry().method("visible")
    assert plugin.cls is Visible
    assert plugin.source is None


def test_an_unknown_method_says_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'visble'. Did you mean 'visible'\? Known: .*convex_hull"):
        Registry().method("visble")


def test_an_unknown_dataset_says_what_there_is() -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset 'coco-a'. Did you mean 'coco_a'\?"):
        Registry().dataset("coco-a")


def test_a_plugin_file_is_found_by_its_name_and_its_source_is_digested(plugins: Path, tmp_path: Path) -> None:
    before = Registry([plugins / "dilate.py"]).method("dilate")
    changed = tmp_path / "dilate.py"
    changed.write_text((plugins / "dilate.py").read_text() + "\n# another revision\n")
    assert before.source is not None
    assert Registry([changed]).method("dilate").source != before.source


def test_a_plugin_that_is_called_like_a_built_in_one_is_refused(plugins: Path, tmp_path: Path) -> None:
    twin = tmp_path / "visible.py"
    twin.write_text((plugins / "dilate.py").read_text())
    with pytest.raises(Refused, match="2 methods are called 'visible'"):
        Registry([twin]).method("visible")


def test_private_files_are_no_plugins() -> None:
    assert not any(name.startswith("_") for name in Registry().names("datasets"))
