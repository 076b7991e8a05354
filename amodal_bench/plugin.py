"""The base classes that a plugin author subclasses, and the facts a plugin states about itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from amodal_bench.errors import UnknownName
from amodal_bench.funnel import Funnel
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, parse_id


class Settings(BaseModel):
    """Base of every method's Params and every dataset's Options: frozen, an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Settings)
O = TypeVar("O", bound=Settings)  # noqa: E741  (options, beside P for params)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCard:
    """Facts about a method that lists and reports need, readable without torch."""

    title: str
    paper: str = ""
    licence: str = ""
    needs: tuple[str, ...] = ()  # modules that load() imports, e.g. ("torch", "timm")
    extra: str = ""  # the extra of this distribution that installs them
    trained: bool = False  # needs a checkpoint that `train` writes
    weights: str = ""  # in words: which weights, from where, under which licence
    batch_size: int = 1  # what a run uses unless told otherwise
    revision: int = 1  # raise it when the numbers change


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """Facts about a dataset. `splits` maps each split to its published counts (may be empty)."""

    title: str
    paper: str = ""
    licence: str = ""
    get: str = ""  # where and how to obtain it
    tree: str = ""  # the files expected under the root
    splits: Mapping[str, Mapping[str, int]]
    default_split: str
    releases: Mapping[str, str] = field(default_factory=dict)  # fingerprint -> name of the release
    embedded: bool = False  # made by the project: needs no files


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Where and how fast a run goes. Nothing here may change a number; it is recorded, not hashed."""

    device: str = "cpu"
    batch_size: int = 1
    checkpoint: Path | None = None
    weights: Path = Path("weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a dataset's files lie: its own folder, images elsewhere (or None), the cache folder."""

    root: Path
    images: Path | None = None
    cache: Path


class Method(ABC, Generic[P]):
    """Predict amodal masks. A file in methods/ holds one subclass; the file's name is the method's id."""

    card: ClassVar[MethodCard]
    Params: ClassVar[type[Settings]] = Settings

    def __init__(self, params: P) -> None:
        self.params = params

    def load(self, runtime: Runtime) -> None:
        """Import what is heavy and read the weights. Called once, before the first `predict`."""

    @abstractmethod
    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Return one full-frame bool mask a query, in order.

        `seeds[i]` (63 bits) is the only source of chance for `queries[i]`, so that batches, order, workers
        and resuming change nothing.
        """


class Dataset(ABC, Generic[O]):
    """Read one split. A file in datasets/ holds one subclass; the file's name is the dataset's id.

    The constructor reads annotations and no pixels, fills `funnel`, and raises `DatasetNotReady` where files
    are missing. It is a sequence of `AmodalSample` in the order of `ids()`.
    """

    card: ClassVar[DatasetCard]
    Options: ClassVar[type[Settings]] = Settings

    def __init__(self, location: Location, split: str, options: O) -> None:
        if split not in self.card.splits:
            raise UnknownName(f"split of {self.card.title}", split, self.card.splits)
        self.location = location
        self.split = split
        self.options = options
        self.funnel = Funnel()

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """`DATASET/SPLIT/IMAGE/ANN` of every instance; those of one image stand together. No pixels are read."""

    @abstractmethod
    def __getitem__(self, index: int) -> AmodalSample:
        """Decode the instance `ids()[index]`; raises `BadRecord` naming the file where it cannot."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 (hex) of the annotation files' bytes, or of a manifest of names and sizes."""

    def group(self, id: str) -> str:
        """What instances are drawn together from: the clip or scene; the image where there is none."""
        return parse_id(id).image

    def __len__(self) -> int:
        return len(self.ids())

    def __iter__(self) -> Iterator[AmodalSample]:
        return (self[index] for index in range(len(self)))


AnyMethod = Method[Any]
AnyDataset = Dataset[Any]
