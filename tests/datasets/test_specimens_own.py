"""Folders of masks as people lay them out, each read as meant."""

from pathlib import Path

import pytest

import amodal_bench as ab

FOUND = ["ok_folder", "fd_images_folder", "fd_mask_suffix", "fd_subfolders", "fd_odd_names", "fd_upper_ext"]


@pytest.mark.parametrize("name", FOUND)
def test_a_layout_that_is_not_ambiguous_gives_its_value(cases: Path, tmp_path: Path, name: str) -> None:
    run = ab.bench("visible", "folder", root=cases / name, results=tmp_path)
    values = ab.score(run.frame()).query("metric == 'mIoU_full' and subset == 'all'")
    assert run.record["funnel"]["kept"] == len(run.frame()) == 2
    assert values["value"].item() == pytest.approx(62.5)


def test_files_in_sub_folders_keep_them_in_their_ids(cases: Path) -> None:
    dataset = ab.load_dataset("folder", root=cases / "fd_subfolders")
    assert list(dataset.ids()) == ["folder/test/a/o0/0", "folder/test/a/o1/0"]
