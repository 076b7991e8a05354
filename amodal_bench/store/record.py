"""run.json as it is believed: a record that was cut off, edited, or made by something else is named, not read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from amodal_bench.errors import RunDamaged, RunNewer
from amodal_bench.files.documents import BadDocument, parse_json, read_small
from amodal_bench.store.rows import SCHEMA_VERSION
from amodal_bench.store.spec import RunSpec

Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
_WAY_OUT = "copy the folder again, or start over with --fresh"
_SHOWN = 3  # faults that an error names


class _Part(BaseModel):
    """A part of the record. What is not listed is kept: a later version of this schema may say more."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class Asked(_Part):
    """What of the request is read again: paths are texts, and are only opened where the command line allows it."""

    method: str
    preset: dict[str, Any] | None = None
    dataset: str
    params: dict[str, Any]
    options: dict[str, Any]
    visible: str = "gt"
    data_root: str | None = None
    root: str | None = None
    image_root: str | None = None
    plugins: list[str] = []


class Counts(_Part):
    """Instances: of the split, asked for, finished, failed."""

    planned: Count
    asked: Count
    done: Count
    error: Count


class Timings(_Part):
    """When a run was begun and ended, how long it took in seconds, the most memory it held in MB."""

    started: str
    finished: str | None = None
    seconds: Seconds
    peak_memory_mb: Seconds | None = None


class AnnotationCounts(_Part):
    """Where every annotation went (`Funnel`)."""

    read: Count
    kept: Count
    dropped: dict[str, Count] = {}
    noted: dict[str, Count] = {}


class Files(_Part):
    """What the dataset's files are: the name of a known release, why they are not the published ones; else nothing."""

    release: str = ""
    unlike_published: str = ""


class WeightsFile(_Part):
    """A file or folder of weights. The path is told, never opened."""

    path: str
    sha256: str


class Weights(WeightsFile):
    """The trained weights and what their header says."""

    metadata: dict[str, str] = {}
    setting: str


class Commit(_Part):
    """The code."""

    commit: str
    dirty: bool = False


class RunRecord(_Part):
    """run.json. Without its first eight parts there is no run; the others only tell where it came from."""

    schema_version: Count
    status: Literal["running", "partial", "errors", "complete"]
    key: str = Field(pattern=r"^[0-9a-f]{12}$")
    preset: str = Field(min_length=1)
    spec: RunSpec
    request: Asked
    counts: Counts
    timings: Timings
    argv: list[str] = []
    funnel: AnnotationCounts | None = None
    files: Files = Files()
    git: Commit | None = None
    versions: dict[str, Any] = {}
    hardware: dict[str, Any] = {}
    device_kind: str = ""
    weights: Weights | None = None
    pretrained: dict[str, WeightsFile] = {}
    tables: dict[str, str] = {}  # sha256 of each table as the last merge wrote it


def read_record(path: Path) -> dict[str, Any]:
    """The record in the file `path` (`parse_record`); raises `RunDamaged`, also where it is missing or unreadable."""
    try:
        return parse_record(path, read_small(path))
    except BadDocument as error:
        raise RunDamaged(f"{path} {error}; {_WAY_OUT}") from None
    except FileNotFoundError:
        raise RunDamaged(f"{path.parent} holds no run (no {path.name})") from None
    except OSError as error:
        raise RunDamaged(f"{path} cannot be read ({error.strerror})") from None


def parse_record(path: Path, data: bytes) -> dict[str, Any]:
    """The record in the bytes of `path`, with every part of `RunRecord` present; raises `RunDamaged` naming both."""
    try:
        found = parse_json(data)
    except BadDocument as error:
        raise RunDamaged(f"{path} {error}; {_WAY_OUT}") from None
    if not isinstance(found, dict):
        raise RunDamaged(f"{path} holds {_kind(found)}, not the record of a run; {_WAY_OUT}")
    version = found.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunNewer(
            f"{path} has schema version {version}; this amodal_bench reads up to {SCHEMA_VERSION}: upgrade it"
        )
    try:
        record = RunRecord.model_validate(found, strict=True)
    except ValidationError as error:
        raise RunDamaged(f"{path} is not the record of a run: {_faults(error)}; {_WAY_OUT}") from None
    return _told_apart(record.model_dump(mode="json"))


def _told_apart(record: dict[str, Any]) -> dict[str, Any]:
    """Pretrained models have a field of their own in the spec, which changes no key; they stood as the checkpoint."""
    spec = record["spec"]
    if record["pretrained"] and record["weights"] is None and spec["pretrained"] is None:
        spec["checkpoint"], spec["pretrained"] = None, spec["checkpoint"]
    return record


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _faults(error: ValidationError) -> str:
    """The first faults, each with its place in the record."""
    found = error.errors(include_url=False, include_context=False)
    faults = [
        f"it has no {_field(fault['loc'])}"
        if fault["type"] == "missing"
        else f"{_field(fault['loc'])}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {_shortened(fault['input'])}"
        for fault in found[:_SHOWN]
    ]
    return "; ".join(faults) + (f"; and {len(found) - _SHOWN} faults more" if len(found) > _SHOWN else "")


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
