"""The slow loop: query, predict, count, store. Streams; what is finished is never decoded again."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import pyarrow as pa

from amodal_bench import rle
from amodal_bench.counts import COLUMNS, GIVEN_COLUMNS, venn
from amodal_bench.plugin import AnyDataset, AnyMethod
from amodal_bench.rows import Row
from amodal_bench.spec import instance_seed
from amodal_bench.store import RunFolder
from amodal_bench.types import AmodalSample, Mask, check_mask, parse_id

log = logging.getLogger(__name__)
T = TypeVar("T")

# How long finished rows wait in memory: little at first, at most a minute in a long run.
_SHORTEST, _LONGEST, _SHARE = 2.0, 60.0, 0.01


class Reporter(Protocol):
    """What a run tells while it works; the command line draws it."""

    def announce(self, total: int, done: int) -> None:
        """So many instances were asked for, so many are on disk already."""

    def advance(self, finished: int, failed: int) -> None:
        """So many more are finished; so many have failed so far."""


class Silent:
    """A reporter that says nothing."""

    def announce(self, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, finished: int, failed: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a plugin raised, as one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the plan."""

    id: str
    group: str
    index: int


@dataclass(slots=True)
class Tally:
    """What one call of `predict` did."""

    finished: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class TooManyErrors(RuntimeError):
    """More instances failed than `--max-errors` allows."""


@dataclass(slots=True)
class Writer:
    """Hands finished rows to the folder every few seconds, and at the end whatever happens."""

    folder: RunFolder
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    flushed: float = field(default_factory=time.monotonic)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep rows, and write them when the last write is long enough ago."""
        self.rows.extend(rows)
        now = time.monotonic()
        if now - self.flushed > min(_LONGEST, max(_SHORTEST, _SHARE * (now - self.started))):
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self.rows:
            self.folder.append(self.rows)
            self.rows = []
        self.flushed = time.monotonic()


def predict(
    folder: RunFolder,
    todo: pa.Table,
    dataset: AnyDataset,
    method: AnyMethod,
    *,
    seed: int,
    batch_size: int,
    max_errors: int,
    reporter: Reporter,
) -> Tally:
    """Predict the planned rows of `todo` and store them; raises `TooManyErrors`.

    The next batch is decoded while the method works on this one. A batch that fails is tried again one by one,
    so that one bad instance is one error row.
    """
    tally, writer = Tally(), Writer(folder)
    try:
        for samples in _decoded(dataset, _batches(todo, batch_size)):
            rows = _rows_of(samples, method, seed, folder.worker)
            writer.add(rows)
            tally.finished += len(rows)
            tally.errors.update(row["error"] for row in rows if row["status"] == "error")
            reporter.advance(len(rows), tally.errors.total())
            if tally.errors.total() > max_errors:
                message, times = tally.errors.most_common(1)[0]
                raise TooManyErrors(
                    f"{tally.errors.total()} instances failed, more than --max-errors {max_errors}; "
                    f"most often ({times}x): {message}"
                )
    finally:
        writer.flush()
    return tally


Decoded = list[tuple[Item, AmodalSample | Failure]]


def _batches(todo: pa.Table, size: int) -> Iterator[list[Item]]:
    for start in range(0, len(todo), size):
        part = todo.slice(start, size).to_pydict()
        yield [Item(*values) for values in zip(part["id"], part["group_id"], part["index"], strict=True)]


def _decoded(dataset: AnyDataset, batches: Iterator[list[Item]]) -> Iterator[Decoded]:
    """Samples batch by batch, read one batch ahead in a thread of their own."""

    def read(items: list[Item]) -> Decoded:
        return [(item, _guarded(lambda i=item.index: dataset[i])) for item in items]  # type: ignore[misc]

    with ThreadPoolExecutor(max_workers=1) as reader:
        current: Future[Decoded] | None = None
        for batch in batches:
            ahead = reader.submit(read, batch)
            if current:
                yield current.result()
            current = ahead
        if current:
            yield current.result()


def _rows_of(decoded: Decoded, method: AnyMethod, seed: int, worker: str) -> list[Row]:
    good = [sample for _, sample in decoded if isinstance(sample, AmodalSample)]
    start = time.perf_counter()
    answers = iter(_answers(method, good, seed))
    seconds = (time.perf_counter() - start) / max(1, len(good))
    rows = []
    for item, sample in decoded:
        answer = next(answers) if isinstance(sample, AmodalSample) else sample
        rows.append({**_row(item, sample, answer), "seconds": seconds, "worker": worker})
    return rows


def _answers(method: AnyMethod, samples: Sequence[AmodalSample], seed: int) -> list[Mask | Failure]:
    if not samples:
        return []
    together = _guarded(lambda: _ask(method, samples, seed))
    if not isinstance(together, Failure):
        return list(together)
    if len(samples) == 1:
        return [together]
    return [answer for sample in samples for answer in _answers(method, [sample], seed)]


def _ask(method: AnyMethod, samples: Sequence[AmodalSample], seed: int) -> list[Mask]:
    queries = [sample.query for sample in samples]
    masks = method.predict(queries, [instance_seed(seed, query.id) for query in queries])
    if len(masks) != len(queries):
        raise ValueError(f"predict returned {len(masks)} masks for {len(queries)} queries")
    for query, mask in zip(queries, masks, strict=True):
        check_mask(mask, query.visible.shape, f"{query.id}: predicted mask")
    return masks


def _row(item: Item, sample: AmodalSample | Failure, answer: Mask | Failure) -> Row:
    parts = parse_id(item.id)
    row: Row = {"id": item.id, "image_id": parts.image, "ann_id": parts.annotation, "group_id": item.group}
    if isinstance(sample, AmodalSample):
        height, width = sample.amodal.shape
        row.update(category=sample.query.category, is_stuff=sample.is_stuff, height=height, width=width)
    if isinstance(sample, Failure) or isinstance(answer, Failure):
        failure = sample if isinstance(sample, Failure) else answer
        return {**row, "status": "error", "error": failure.message if isinstance(failure, Failure) else ""}
    given = None if sample.true_visible is None else sample.query.visible
    counts = venn(answer, sample.amodal, sample.visible, given).tolist()
    code = rle.encode(answer)
    names = (*COLUMNS, *GIVEN_COLUMNS)[: len(counts)]
    return {**row, **dict(zip(names, counts, strict=True)), **code, "status": "ok"}


def _guarded(call: Callable[[], T]) -> T | Failure:
    """The plugin boundary: whatever a plugin raises becomes a row, so one instance never ends a run."""
    try:
        return call()
    except Exception as error:
        log.debug("a plugin failed", exc_info=True)
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()))
