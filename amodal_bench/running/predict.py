"""The slow loop: query, predict, count, store. Streams; what is finished is never decoded again."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pyarrow as pa

from amodal_bench.errors import Incomplete
from amodal_bench.masks import rle
from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.plugin import AnyDataset, AnyMethod
from amodal_bench.progress import Reporter
from amodal_bench.resolve.asking import asked
from amodal_bench.running.guard import Failure, guarded, source_of
from amodal_bench.running.held import Held
from amodal_bench.running.kinds import keep_trace
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.journal import Journal
from amodal_bench.store.rows import FINISHED, Row
from amodal_bench.store.spec import instance_seed
from amodal_bench.types import AmodalSample, Mask, parse_id

log = logging.getLogger(__name__)

# How long finished rows wait in memory: little at first, at most a minute in a long run, and never too many.
_SHORTEST, _LONGEST, _SHARE = 2.0, 60.0, 0.01
_MOST = 10_000


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


class TooManyErrors(Incomplete):
    """More instances failed than `--max-errors` allows."""


@dataclass(slots=True)
class RunWriter:
    """Hands finished rows to the folder every few seconds, and at the end whatever happens."""

    folder: RunFolder
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    flushed: float = field(default_factory=time.monotonic)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep rows, and write them when the last write is long enough ago or they are many."""
        self.rows.extend(rows)
        now = time.monotonic()
        late = now - self.flushed > min(_LONGEST, max(_SHORTEST, _SHARE * (now - self.started)))
        if late or len(self.rows) >= _MOST:
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
    journal: Journal,
) -> Tally:
    """Predict the planned rows of `todo` and store them; raises `TooManyErrors`.

    The next batch is decoded while the method works on this one. A batch that fails is tried again in halves, so
    that one bad instance is one error row. `journal` is told what is worked on.
    """
    tally, writer, asker = Tally(), RunWriter(folder), _Asker(method, seed)
    try:
        for samples in _decoded(dataset, _batches(todo, batch_size), journal):
            rows = _rows_of(samples, asker, folder)
            writer.add(rows)
            tally.finished += len(rows)
            tally.errors.update(row["error"] for row in rows if row["status"] == "error")
            reporter.advance(len(rows), sum(row["status"] == "error" for row in rows))
            if tally.errors.total() > max_errors:
                message, times = tally.errors.most_common(1)[0]
                raise TooManyErrors(
                    f"{tally.errors.total()} instances failed, more than --max-errors {max_errors}; "
                    f"most often ({times}x): {message}"
                )
    finally:
        writer.flush()
    return tally


Decoded = list[tuple[Item, Held | Failure]]


def _batches(todo: pa.Table, size: int) -> Iterator[list[Item]]:
    for start in range(0, len(todo), size):
        part = todo.slice(start, size).to_pydict()
        yield [Item(*values) for values in zip(part["id"], part["group_id"], part["index"], strict=True)]


def _decoded(dataset: AnyDataset, batches: Iterator[list[Item]], journal: Journal) -> Iterator[Decoded]:
    """Samples batch by batch, read one batch ahead in a thread of their own."""

    def read(items: list[Item]) -> Decoded:
        images: dict[int, str] = {}
        found = [guarded(lambda i=item: hold(dataset, i, images)) for item in items]  # type: ignore[misc]
        where = source_of(type(dataset).__getitem__)
        held = [replace(f, line=f.line or where) if isinstance(f, Failure) else f for f in found]
        return list(zip(items, held, strict=True))

    with ThreadPoolExecutor(max_workers=1) as reader:
        current: Future[Decoded] | None = None
        worked: list[Item] = []
        for batch in chain(batches, [[]]):
            journal.holds([item.id for item in (*worked, *batch)])
            ahead = reader.submit(read, batch)
            if current:
                yield current.result()
            current, worked = ahead, batch


def planned_sample(dataset: AnyDataset, id: str, index: int) -> AmodalSample:
    """The planned instance; raises where the dataset returns something else."""
    sample = dataset[index]
    if not isinstance(sample, AmodalSample):
        raise TypeError(f"{id}: the dataset must return an AmodalSample, got {type(sample).__name__}")
    if sample.query.id != id:
        raise ValueError(f"{id}: the dataset returned another instance, {sample.query.id!r}, at {index}")
    return sample


def hold(dataset: AnyDataset, item: Item, images: dict[int, str]) -> Held:
    """The planned instance as the loop holds it.

    `images` holds the addresses of this batch's images: two images in one array are one image by now.
    """
    sample = planned_sample(dataset, item.id, item.index)
    image = sample.query.image_id
    first = images.setdefault(sample.query.image.ctypes.data, image)
    if first != image:
        raise ValueError(f"{item.id}: the dataset returned one array for the images {first!r} and {image!r}: copy it")
    return Held.of(sample)


def _rows_of(decoded: Decoded, asker: "_Asker", folder: RunFolder) -> list[Row]:
    good = [held for _, held in decoded if isinstance(held, Held) and not held.unmatched]
    start = time.perf_counter()
    answers = iter(asker.answers(good))
    seconds = (time.perf_counter() - start) / max(1, len(good))
    rows = []
    for item, held in decoded:
        answer = _answer(held, answers)
        outcome = answer if isinstance(answer, Failure) else guarded(lambda i=item, h=held, a=answer: _row(i, h, a))  # type: ignore[misc]
        if isinstance(outcome, Failure):
            keep_trace(folder.path, item.id, outcome)
            outcome = {**error_row(item, outcome), **(_facts(held) if isinstance(held, Held) else {})}
        rows.append({**outcome, "seconds": seconds, "worker": folder.worker})
    return rows


def _answer(held: Held | Failure, answers: Iterator[Mask | Failure]) -> Mask | Failure:
    """The next answer, unless no method was asked: what is unmatched has an empty prediction."""
    if isinstance(held, Failure):
        return held
    return np.zeros(held.shape, dtype=np.bool_) if held.unmatched else next(answers)


class _Asker:
    """Asks a method, in smaller batches where a batch fails.

    Once a batch was too large for the memory, it is not tried again: later ones are cut to what fitted.
    """

    def __init__(self, method: AnyMethod, seed: int) -> None:
        self._method, self._seed = method, seed
        self._most: int | None = None

    def answers(self, held: Sequence[Held]) -> list[Mask | Failure]:
        """A mask or a failure for each."""
        if self._most and len(held) > self._most:
            return self._in_parts(held, self._most)
        if not held:
            return []
        queries = [h.query for h in held]
        seeds = [instance_seed(self._seed, query.id) for query in queries]
        together = guarded(lambda: asked(self._method, queries, seeds))
        if not isinstance(together, Failure):
            return list(together)
        if len(held) == 1 or together.final:
            return [replace(together, line=together.line or source_of(type(self._method).predict))] * len(held)
        half = -(-len(held) // 2)
        if together.memory:
            log.warning("out of memory at a batch of %d: going on with %d (%s)", len(held), half, together.message)
            self._most = half
        return self._in_parts(held, half)

    def _in_parts(self, held: Sequence[Held], size: int) -> list[Mask | Failure]:
        parts = [held[start : start + size] for start in range(0, len(held), size)]
        return [answer for part in parts for answer in self.answers(part)]


def error_row(item: Item, failure: Failure) -> Row:
    """The row of an instance of which no more is known than that it failed."""
    parts = parse_id(item.id)
    row = {"id": item.id, "image_id": parts.image, "ann_id": parts.annotation, "group_id": item.group}
    return {**row, "status": "error", "error": failure.message}


def _row(item: Item, held: Held, answer: Mask) -> Row:
    return {**count(item, held, answer), **rle.encode(answer), "status": FINISHED}


def count(item: Item, held: Held, predicted: Mask) -> Row:
    """What a finished row says of an instance: its facts, and the counts of a predicted mask of its shape."""
    parts = parse_id(item.id)
    counts = held.counts(predicted).tolist()
    names = (*COLUMNS, *GIVEN_COLUMNS)[: len(counts)]
    ids = {"id": item.id, "image_id": parts.image, "ann_id": parts.annotation, "group_id": item.group}
    return {**ids, **_facts(held), **dict(zip(names, counts, strict=True))}


def _facts(held: Held) -> Row:
    height, width = held.shape
    return {"category": held.query.category, "is_stuff": held.is_stuff, "height": height, "width": width}
