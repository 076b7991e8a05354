"""The base classes that a plugin author subclasses, and the facts a plugin states about itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from amodal_bench.errors import BadRecord, UnknownName
from amodal_bench.funnel import Fault as Fault
from amodal_bench.funnel import Funnel
from amodal_bench.masks import rle
from amodal_bench.masks.rle import Code
from amodal_bench.progress import Monitor as Monitor
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, Seen, beside, parse_id


class Settings(BaseModel):
    """Base of every method's Params and every dataset's Options: frozen, an unknown key is an error.

    `old_names` maps what a field was called before to its name, for files that were written then. `kept_names` and
    `added_names` are for fields renamed or new: no run changes its key. `asides` of a training change no weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    old_names: ClassVar[Mapping[str, str]] = {}
    kept_names: ClassVar[Mapping[str, str]] = {}  # name -> the one in keys and records
    added_names: ClassVar[Sequence[str]] = ()  # there only where not at their default, which is what was done before
    asides: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if not cls.old_names or not isinstance(values, Mapping):
            return values
        for old, new in cls.old_names.items():
            if old in values and new in values:
                raise ValueError(f"{old} is called {new} now, and both are given: leave {old} out")
        return {cls.old_names.get(name, name): value for name, value in values.items()}


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
class TrainingRun:
    """One training, as the core hands it to `Method.train`.

    `config` is an instance of the method's `Training`. `out` exists and may hold what an earlier, cut-off run of
    the same training left. `metadata` goes into the weights' header; the method adds its own. `starts` as it named.
    """

    config: Any
    out: Path
    seed: int
    device: str
    metadata: Mapping[str, str]
    monitor: Monitor
    starts: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Which dataset is opened, and where its files lie: its own folder, images elsewhere (or None), the cache folder.

    `name` is what the registry knows it by: every id begins with it.
    """

    name: str
    root: Path
    images: Path | None = None
    cache: Path


class Method(ABC, Generic[P]):
    """Predict amodal masks. A file in methods/ holds one subclass; the file's name is the method's id."""

    card: ClassVar[MethodCard]
    Params: ClassVar[type[Settings]] = Settings
    Training: ClassVar[type[Settings] | None] = None  # settings of `train`; None: nothing to train

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

    def pretrained(self, weights: Path) -> Mapping[str, Path]:  # noqa: ARG002
        """Files and folders of pretrained models that `load` will read, by the name of the part they are for.

        `weights` is the tree of weights of this machine. Called before `load` and before anything is written;
        raises `WeightsNotFound` that names each missing model, its licence, its size and how to get it. The core
        digests what is found: it is part of a run's key.
        """
        return {}

    def check_weights(self, metadata: Mapping[str, str]) -> None:
        """Raise `Refused` where weights with this metadata do not fit the parameters. Called before `load`."""

    def starts(self, training: Any, weights: Path) -> Mapping[str, Path]:  # noqa: ARG002
        """Files that a training with these settings begins from, by part; `pretrained` says how it is asked for.

        The core digests them into the header of the weights.
        """
        return {}

    def train(self, train: "AnyDataset", val: "AnyDataset", run: TrainingRun) -> None:
        """Write `run.out / "model.safetensors"` with `run.metadata` in its header, at the end and whole.

        Called again with the same `run.out` after an interruption, it goes on where it was. Under torchrun
        every process calls it.
        """
        raise NotImplementedError(f"{self.card.title} states Training settings but has no train()")


class Dataset(ABC, Generic[O]):
    """Read one split. A file in datasets/ holds one subclass; the file's name is the dataset's id.

    The constructor reads annotations and no pixels, fills `funnel`, and raises `DatasetNotReady` where files
    are missing. It is a sequence of `AmodalSample` in the order of `ids()`. `name` and `split` are what it was opened
    as; `id_of` makes an id with them.
    """

    card: ClassVar[DatasetCard]
    Options: ClassVar[type[Settings]] = Settings

    def __init__(self, location: Location, split: str, options: O) -> None:
        if split not in self.card.splits:
            raise UnknownName(f"split of {self.card.title}", split, self.card.splits)
        self.location = location
        self.name = location.name
        self.split = split
        self.options = options
        self.funnel = Funnel()

    @abstractmethod
    def ids(self) -> Sequence[str]:
        """`DATASET/SPLIT/IMAGE/ANN` of every instance; those of one image stand together. No pixels are read."""

    @abstractmethod
    def __getitem__(self, index: int) -> AmodalSample:
        """Decode the instance `ids()[index]`; raises `BadRecord` naming the file where it cannot."""

    def seen(self, index: int) -> Seen:
        """The query `ids()[index]` and what is seen of its image's things: the instances, and what else is known of."""
        samples = {number: self[number] for number in beside(self.ids(), index)}
        return Seen.among(samples[range(len(self))[index]].query, samples.values())

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 (hex) of the annotation files' bytes, or of the names and sha256 of the files that hold the masks.

        It names the contents, on any machine: never a size, a time or a path. What is kept under it (an index, a run)
        serves wherever it is the same. `amodal_bench.files.cache` has digests of files that are remembered.
        """

    def id_of(self, image: object, annotation: object) -> str:
        """`DATASET/SPLIT/IMAGE/ANN` of an instance of this dataset and split, in the dataset's own numbers."""
        return f"{self.name}/{self.split}/{image}/{annotation}"

    def group(self, id: str) -> str:
        """What instances are drawn together from: the clip or scene; the image where there is none."""
        return parse_id(id).image

    def codes(self) -> Iterator[tuple[str, Code, Code]]:
        """(id, amodal, true visible) as run-length codes of every instance that can be read, in order."""
        for index, id in enumerate(self.ids()):
            with suppress(BadRecord):
                sample = self[index]
                yield id, rle.encode(sample.amodal), rle.encode(sample.visible)

    def category_of(self, index: int) -> str | None:
        """The category of the instance `ids()[index]`."""
        return self[index].query.category

    def categories(self) -> Mapping[str, str]:
        """The names of the categories by the numbers that results for this dataset use; empty where it has none."""
        return {}

    def remarks(self) -> Iterator[str]:
        """What `doctor` should tell of the whole: how the files were read, where that is not the same for all."""
        yield from ()

    def faults(self) -> Iterator[Fault]:
        """What `doctor` should tell of single annotations; may look at every mask and every image's header."""
        yield from ()

    def __len__(self) -> int:
        return len(self.ids())

    def __iter__(self) -> Iterator[AmodalSample]:
        return (self[index] for index in range(len(self)))


AnyMethod = Method[Any]
AnyDataset = Dataset[Any]
