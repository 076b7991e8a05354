"""Which of FishBowl's layouts lies in a folder: told by the files, never guessed."""

import logging

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.missing import missing
from amodal_bench.plugin import DatasetCard, Location

from .fish import FishLayout
from .recordings import Recordings
from .savos import SavosPickle

log = logging.getLogger(__name__)


def find_layout(card: DatasetCard, location: Location, split: str) -> FishLayout:
    """The one layout that is there; raises `DatasetNotReady` where there is none, half of one, or two."""
    folder = location.root / f"{split}_data"
    packed = folder / f"{split}_data.pkl"
    recordings = _recordings(card, location, split)
    if packed.is_file() and recordings.clips():
        raise DatasetNotReady(
            f"{card.title}: {location.root} holds both {packed.relative_to(location.root)} and clips with "
            "objects.json: which is meant? Give each its own folder and name one with --root DIR."
        )
    if packed.is_file():
        frames = location.images or folder / f"{split}_frames"
        if not frames.is_dir():
            raise missing(card, location.root, f"{split}_data/{split}_frames")
        return SavosPickle(packed, frames, location.cache)
    fault = recordings.lacking() if recordings.clips() else f"a clip with objects.json (split {split!r})"
    if fault:
        raise missing(card, location.root, fault)
    return recordings


def _recordings(card: DatasetCard, location: Location, split: str) -> Recordings:
    """The clips under root/SPLIT; where it has none, those under the root itself."""
    images = location.images or location.root
    frames = images / split if (images / split).is_dir() else images
    recordings = Recordings.under(location.root / split, frames, location.cache)
    if recordings.clips():
        return recordings
    whole = Recordings.under(location.root, images, location.cache)
    if whole.clips() and split != card.default_split:
        log.warning("%s has no folder %s: all of its clips are read as that split", location.root, split)
    return whole
