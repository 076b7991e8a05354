"""Where COCO's photos lie: the releases of 2014 and 2017 hold the same ones under different names."""

import re
from collections.abc import Sequence
from pathlib import Path

from amodal_bench.plugin import Location

NAME_2014 = re.compile(r"COCO_(?:train|val)2014_(\d{12}\.jpg)")


def name_of_2017(name: str) -> str:
    """The name of a photo of train or val 2014 in the release of 2017: its twelve digits, which no two share."""
    match = NAME_2014.fullmatch(name)
    return match[1] if match else name


def photo_folders(location: Location, split: str) -> Sequence[Path]:
    """The split's folder under the root, --image-root or their images/, those of 2017, then --image-root itself.

    The release of 2017 deals the photos of both splits out anew; its test photos are others.
    """
    base = location.images or location.root
    later = () if split == "test" else ("train2017", "val2017")
    folders = [base / inside / name for name in (f"{split}2014", *later) for inside in ("", "images")]
    return [*folders, base] if location.images else folders
