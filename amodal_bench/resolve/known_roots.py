"""Where datasets lay when the user of this machine ran something on them.

A run's folder says where its dataset lay, but it may come from somebody else, and what is opened for pictures ends on
a page that is sent on. So no path in it is followed: pictures come from places that were named on this machine.
"""

import hashlib
import json
import logging
from pathlib import Path

from amodal_bench.files.cache import cache_folder, write_atomic
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.resolve.locate import DataFlags

log = logging.getLogger(__name__)


def remember(dataset: str, fingerprint: str, flags: DataFlags) -> None:
    """Keep in the cache folder where a dataset with this fingerprint was found."""
    note = _note(dataset, fingerprint)
    paths = {name: str(path.absolute()) for name in ("root", "image_root") if (path := getattr(flags, name))}
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(note, json.dumps(paths).encode())
    except OSError as error:
        log.warning("%s: not remembered where %s lies (%s)", note, dataset, error.strerror)


def remembered(dataset: str, fingerprint: str) -> DataFlags:
    """Where a dataset with this fingerprint lay when it was last used here; nothing where that is not known."""
    try:
        found = parse_json(_note(dataset, fingerprint).read_bytes())
    except (OSError, BadDocument):
        return DataFlags()
    paths = found if isinstance(found, dict) and all(isinstance(path, str) for path in found.values()) else {}
    if not Path(paths.get("root", "")).is_dir():
        return DataFlags()
    return DataFlags(**{name: Path(paths[name]) for name in ("root", "image_root") if name in paths})


def _note(dataset: str, fingerprint: str) -> Path:
    text = f"{dataset}\0{fingerprint}"
    return cache_folder() / "places" / f"{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:32]}.json"
