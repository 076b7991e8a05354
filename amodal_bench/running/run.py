"""Run a job: wait for whoever else is at it, predict what is missing, merge, and tell what is missing still."""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from amodal_bench.errors import Incomplete, Refused
from amodal_bench.formats.release import release_of, unlike_published
from amodal_bench.metrics.protocol import DEFAULT
from amodal_bench.plugin import AnyMethod
from amodal_bench.progress import Reporter, Silent
from amodal_bench.resolve import known_roots, provenance
from amodal_bench.resolve.job import Job
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.running import plan as planning
from amodal_bench.running.child import WorkerOrders
from amodal_bench.running.predict import Tally, TooManyErrors, predict
from amodal_bench.running.workers import DIED, LATE, WorkerCrew
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.journal import Journal
from amodal_bench.store.lock import FolderLock
from amodal_bench.store.rows import FINISHED, SCHEMA_VERSION

log = logging.getLogger(__name__)
_LOOK = 0.5  # seconds between two looks at a run that another process works on


def bench(job: Job, reporter: Reporter | None = None, fresh: bool = False) -> Tally:
    """Predict what is missing and merge; a complete run is left as it is. `fresh` deletes what the run left before.

    Whoever else is at this run is waited for. Raises `Refused` before anything is written, and `Incomplete` (of which
    `TooManyErrors` is one) where not every instance that was asked for has a row in the end.
    """
    reporter = reporter or Silent()
    folder = job.folder
    _remember(job)
    if not fresh and folder.complete:
        _tidy(folder)
        return Tally()
    with FolderLock(folder.path) as lock:
        if not lock.take():
            if fresh:
                raise Refused(
                    f"{folder.path} is being worked on by {lock.holder_name()}: --fresh would delete its work"
                )
            _wait(job, lock, reporter)
        if fresh:
            _check_unused(folder)
        elif folder.complete:  # thanks to the one who was waited for
            return Tally()
        return _Bench(job, reporter, lock, fresh).run()


def _remember(job: Job) -> None:
    """Have pictures of this data found again; not for a worker, whose paths a run's folder may have named."""
    if not job.dataset.card.embedded:
        flags = DataFlags(root=job.location.root, image_root=job.location.images)
        known_roots.remember(job.spec.dataset, job.spec.fingerprint, flags)


def work(job: Job, number: int, count: int, reporter: Reporter) -> Tally:
    """Predict one shard of a run that `bench` or another worker began; merging is left to `bench`."""
    _check_device(job, job.folder.record())
    mine = planning.shard(_asked(job, job.folder.plan()), number, count)
    todo = Todo.of(job.folder, mine)
    examine(job, todo, reporter)
    method = job.preset.make()
    method.load(job.runtime)
    reporter.announce(len(mine), len(mine) - len(todo.rest))
    return _predict(job, todo.rest, method, reporter)


def work_shard(job: Job, method: AnyMethod, orders: WorkerOrders) -> None:
    """What a worker process of `bench` does: suspected instances one by one, then what its shard has left."""
    asked = _asked(job, job.folder.plan())
    for id in orders.alone:
        _predict(job, asked.slice(planning.find(asked, id), 1), method, Silent(), alone=True)
    if orders.shard:
        todo = Todo.of(job.folder, planning.shard(asked, *orders.shard))
        _predict(job, _without(todo.rest, (*orders.alone, *orders.skip)), method, Silent())


def examine(job: Job, todo: "Todo", reporter: Reporter) -> None:
    """Predict the instances on which a process may have died, each alone in a process that may die again."""
    if not len(todo.suspected):
        return
    suspects = tuple(todo.suspected["id"].to_pylist())
    log.warning("%d instances were in work when a process died: each is predicted alone first", len(suspects))
    crew = _crew(job, todo.suspected, reporter)
    crew.run([_orders(job, alone=suspects)])
    if crew.reasons:
        raise Incomplete("; ".join(crew.reasons))


@dataclass(frozen=True, slots=True)
class Todo:
    """What a plan has left to do: `suspected` are those on which a process may have died, `rest` the others."""

    rest: pa.Table
    suspected: pa.Table

    @classmethod
    def of(cls, folder: RunFolder, plan: pa.Table) -> "Todo":
        """Compare a plan with what is on disk; failed instances are tried again."""
        rows = folder.rows()
        finished = pc.equal(rows["status"], FINISHED)
        left = _without(plan, rows["id"].filter(finished).combine_chunks())
        texts = pc.fill_null(rows["error"], "")
        deadly = rows["id"].filter(pc.or_(pc.starts_with(texts, DIED), pc.starts_with(texts, LATE))).to_pylist()
        suspected = pc.is_in(left["id"], value_set=pa.array([*deadly, *folder.suspects()], type=pa.string()))
        return cls(left.filter(pc.invert(suspected)), left.filter(suspected))

    def __len__(self) -> int:
        return len(self.rest) + len(self.suspected)


class _Bench:
    """One `bench`, under the lock of its run."""

    def __init__(self, job: Job, reporter: Reporter, lock: FolderLock, fresh: bool) -> None:
        self._job, self._folder, self._reporter = job, job.folder, reporter
        self._lock, self._fresh = lock, fresh
        self._folder.sweep()
        self._plan = planning.make_plan(job.dataset)
        self._asked = _asked(job, self._plan)
        self._record = _record(job, self._plan, fresh)
        self._started = time.monotonic()

    def run(self) -> Tally:
        """Predict, merge, and tell what is missing."""
        request = self._job.request
        here = request.workers == 1 and request.instance_timeout is None
        try:
            tally, reasons = self._here() if here else self._in_workers()
        except TooManyErrors:
            self._finish()
            raise
        self._finish()
        self._check_rows(reasons)
        self._folder.forget()
        return tally

    def _here(self) -> tuple[Tally, list[str]]:
        """All in this process, but for what another one may have died of."""
        examine(self._job, self._todo(), self._reporter)
        method = self._job.preset.make()
        method.load(self._job.runtime)
        todo = self._begin()
        return _predict(self._job, todo.rest, method, self._reporter), []

    def _in_workers(self) -> tuple[Tally, list[str]]:
        """All in processes of their own."""
        count = self._job.request.workers
        todo = self._todo()
        suspects = tuple(todo.suspected["id"].to_pylist())
        crew = _crew(self._job, self._asked, self._reporter)
        crew.run(
            [_orders(self._job, shard=(n, count), alone=() if n else suspects) for n in range(count)],
            begin=self._begin,
        )
        return Tally(finished=len(todo)), crew.reasons

    def _todo(self) -> Todo:
        if self._fresh or not self._folder.exists:
            return Todo(self._asked, self._asked.slice(0, 0))
        return Todo.of(self._folder, self._asked)

    def _begin(self) -> Todo:
        """The method has loaded: only now the folder is written to."""
        if self._fresh:
            self._folder.remove()
        self._folder.create(self._record, self._plan)
        todo = Todo.of(self._folder, self._asked)
        self._reporter.announce(len(self._asked), len(self._asked) - len(todo))
        return todo

    def _finish(self) -> None:
        if not self._lock.mine:
            raise Incomplete(
                f"{self._folder.path} was taken over by {self._lock.holder_name()}, which saw no sign of life of this "
                "command. What was finished is kept"
            )
        timings = self._record["timings"]
        timings["finished"] = _now()
        timings["seconds"] += time.monotonic() - self._started
        peaks = [timings.get("peak_memory_mb"), provenance.peak_memory_mb(self._job.device)]
        timings["peak_memory_mb"] = max((peak for peak in peaks if peak is not None), default=None)
        self._record = self._folder.finish(self._record)

    def _check_rows(self, reasons: list[str]) -> None:
        """Raise `Incomplete` where an instance that was asked for has no row, finished or failed."""
        missing = len(_without(self._asked, self._folder.ids()))
        if missing:
            raise Incomplete(
                f"{missing} of {len(self._asked)} instances have no result in {self._folder.path}: "
                f"{'; '.join(reasons) or 'their workers ended without a word'}. The same command goes on from there"
            )


def _wait(job: Job, lock: FolderLock, reporter: Reporter) -> None:
    """Take the lock when its holder has ended; until then, show how far the run is."""
    log.warning("%s is being worked on by %s: waiting for it", job.folder.path, lock.holder_name())
    known: set[str] = set()
    reporter.announce(min(job.request.limit or len(job.dataset), len(job.dataset)), 0)
    while not lock.take():
        time.sleep(_LOOK)
        parts = job.folder.parts()
        reporter.advance(job.folder.count(parts - known), 0)
        known |= parts


def _tidy(folder: RunFolder) -> None:
    """Clear up what killed processes left in a complete run, where nobody is at it and it can be written to."""
    if folder.littered:
        with suppress(Refused), FolderLock(folder.path) as lock:
            if lock.take():
                folder.tidy()


def _check_unused(folder: RunFolder) -> None:
    for entry in folder.workers():
        raise Refused(f"{folder.path} is being worked on by {entry}: --fresh would delete its work")


def _asked(job: Job, plan: pa.Table) -> pa.Table:
    return plan.slice(0, job.request.limit) if job.request.limit else plan


def _without(plan: pa.Table, ids: Any) -> pa.Table:
    return plan.filter(pc.invert(pc.is_in(plan["id"], value_set=pa.array(ids, type=pa.string()))))


def _orders(job: Job, shard: tuple[int, int] | None = None, alone: tuple[str, ...] = ()) -> WorkerOrders:
    return WorkerOrders(request=job.request.model_dump(mode="json"), key=job.spec.key(), shard=shard, alone=alone)


def _crew(job: Job, plan: pa.Table, reporter: Reporter) -> WorkerCrew:
    return WorkerCrew(
        job.folder,
        plan,
        batch_size=job.batch_size,
        max_errors=job.request.max_errors,
        instance_timeout=job.request.instance_timeout,
        reporter=reporter,
    )


def _predict(job: Job, todo: pa.Table, method: AnyMethod, reporter: Reporter, alone: bool = False) -> Tally:
    with Journal(job.folder.path, job.folder.worker, alone) as journal:
        return predict(
            job.folder,
            todo,
            job.dataset,
            method,
            seed=job.spec.seed,
            batch_size=job.batch_size,
            max_errors=job.request.max_errors,
            reporter=reporter,
            journal=journal,
        )


def _record(job: Job, plan: pa.Table, fresh: bool) -> dict[str, Any]:
    """run.json of a run that begins or goes on."""
    before = job.folder.record() if job.folder.exists and not fresh else None
    if before:
        _check_device(job, before)
    limit = job.request.limit
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "key": job.spec.key(),
        "preset": job.preset.name,
        "spec": job.spec.model_dump(mode="json"),
        "request": job.request.model_dump(mode="json"),
        "argv": provenance.command_line(),
        "protocol": DEFAULT,
        "funnel": job.dataset.funnel.as_dict(),
        "files": {"release": release_of(job.dataset), "unlike_published": unlike_published(job.dataset)},
        "counts": {"planned": len(plan), "asked": min(limit or len(plan), len(plan)), "done": 0, "error": 0},
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(job.device),
        "device_kind": provenance.device_kind(job.device),
        "weights": {
            "path": str(job.checkpoint.path), "sha256": job.checkpoint.sha256, "metadata": job.checkpoint.metadata,
            "setting": job.checkpoint.setting(job.spec.dataset),
        } if job.checkpoint else None,
        "pretrained": {
            part: {"path": str(path), "sha256": job.pretrained.sha256[part]}
            for part, path in job.pretrained.paths.items()
        },
        "timings": before["timings"] if before else {"started": _now(), "finished": None, "seconds": 0.0},
    }  # fmt: skip


def _check_device(job: Job, record: dict[str, Any]) -> None:
    kind = provenance.device_kind(job.device)
    if record["device_kind"] != kind:
        raise Refused(
            f"{job.folder.path} was begun on {record['device_kind']}, this is {kind}: equal results are promised on "
            "one kind of device only. Go on there, or start over with --fresh"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
