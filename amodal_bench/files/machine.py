"""./amodal-bench.yaml: what is this machine's own, where things lie on it; never committed, never hashed."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from amodal_bench.errors import Refused
from amodal_bench.files.documents import read_yaml

CONFIG = Path("amodal-bench.yaml")


class DatasetPaths(BaseModel):
    """One entry under `datasets:`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path | None = None
    images: Path | None = None


class Paths(BaseModel):
    """The whole file; `configs` names folders with presets, protocols, tables and training files of one's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_root: Path | None = None
    weights: Path | None = None
    results: Path | None = None
    datasets: dict[str, DatasetPaths] = {}
    configs: tuple[Path, ...] = ()


def read_paths(path: Path = CONFIG) -> Paths:
    """The machine's own paths, all None where there is no file; raises `Refused` naming the field."""
    if not path.is_file():
        return Paths()
    try:
        return Paths.model_validate(read_yaml(path, "a list of paths") or {})
    except ValidationError as error:
        raise Refused(f"{path}: {error}") from None
