"""Where a pretrained model lies, and what to do where it is missing. No torch here."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from amodal_bench.errors import WeightsNotFound


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """What a user must know to get a model. `get` is a command, or words; {folder} in it is where the model belongs."""

    title: str
    licence: str
    size: str
    get: str


def find(reference: str, source: WeightsSource, weights: Path, shipped: Path, revision: str | None = None) -> Path:
    """The file or folder `reference` below `weights`, below `shipped`, or a hub id's snapshot in the hub's cache.

    Nothing is downloaded. Raises `WeightsNotFound` with the places looked in, licence, size and command.
    """
    expected, packed = weights / reference, shipped / reference
    for path in (expected, packed):
        if path.exists():
            return path
    cached = _snapshot(reference, revision)
    if cached:
        return cached
    hub = "\n       and: the hub's cache" if is_hub_id(reference) else ""
    raise WeightsNotFound(
        f"{source.title} ({reference}) is not on this machine.\n"
        f"Looked for: {expected}\n       and: {packed}{hub}\n"
        f"Licence: {source.licence}. Size: {source.size}.\n"
        f"Get it: {source.get.format(folder=expected)}\n"
        "or keep it elsewhere: --weights DIR or AMODAL_BENCH_WEIGHTS",
        [source.title],
    )


def is_hub_id(reference: str) -> bool:
    """Whether it has the form OWNER/NAME."""
    return reference.count("/") == 1


def _snapshot(reference: str, revision: str | None) -> Path | None:
    """The folder of a hub id in the hub's own cache; None where it is no id, not there, or nobody can ask."""
    if not is_hub_id(reference) or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
