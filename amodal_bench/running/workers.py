"""Worker processes of one command: started, watched, and started again when one dies.

A worker gets its orders as a line on its standard input. It says when it has loaded the method and waits for a
second line before it touches the run; when its input ends, so has its parent, and it stops. How it ended is a
record that it sends; a process that is gone without one has died. What it died on is in the run's journal: those
instances are predicted again, each alone, and one that kills its process again becomes an error row.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.files import processes
from amodal_bench.progress import Reporter
from amodal_bench.running.child import Child, WorkerOrders
from amodal_bench.running.guard import Failure
from amodal_bench.running.plan import find
from amodal_bench.running.predict import Item, TooManyErrors, error_row
from amodal_bench.store.folder import RunFolder

log = logging.getLogger(__name__)

DIED, LATE = "ProcessDied", "InstanceTimeout"  # how the errors of such rows begin
_LOOK = 0.1  # seconds between two looks at the workers
_GRACE = 30.0  # seconds that a worker has to write what is finished
_MOST_DEATHS = 2  # in a row without any progress and without anybody to suspect


class WorkerCrew:
    """The workers of one command on one run."""

    def __init__(
        self,
        folder: RunFolder,
        plan: pa.Table,
        *,
        batch_size: int,
        max_errors: int,
        instance_timeout: float | None,
        reporter: Reporter,
    ) -> None:
        self._folder, self._plan = folder, plan
        self._batch_size, self._max_errors, self._timeout = batch_size, max_errors, instance_timeout
        self._reporter = reporter
        self._children: list[Child] = []
        self._died: list[str] = []
        self._told = 0
        self._known = folder.parts()
        self.reasons: list[str] = []

    def run(self, orders: Sequence[WorkerOrders], begin: Callable[[], object] | None = None) -> None:
        """Have workers carry out orders; `begin` is called when all have loaded, before one touches the run.

        Raises `Refused` where one can not begin, and `TooManyErrors`. Why work was left undone is in `reasons`.
        """
        try:
            self._children = [self._start(o) for o in orders]
            self._await_ready()
            if begin:
                begin()
            for child in self._children:
                child.tell(b"go")
            while self._children:
                time.sleep(_LOOK)
                self._look()
        finally:
            self._dismiss()

    def _start(self, orders: WorkerOrders, deaths: int = 0) -> Child:
        environment = _environment(*(orders.shard or (0, 1)))
        process = processes.start("amodal_bench.running.worker", pipes=True, environment=environment)
        child = Child(orders, process, deaths)
        child.tell(orders.model_dump_json().encode())
        return child

    def _await_ready(self) -> None:
        for number, child in enumerate(self._children):
            while not child.ready:
                time.sleep(_LOOK)
                if not child.gone or child.ready:
                    continue
                if child.end and child.end.kind != "stopped":  # by a signal to it alone: as good as killed
                    raise Refused(child.end.text)
                if child.deaths + 1 >= _MOST_DEATHS:
                    raise Refused(f"{child.title} {child.how} while it loaded the method, {_MOST_DEATHS} times")
                child.close()
                child = self._children[number] = self._start(child.orders, child.deaths + 1)

    def _look(self) -> None:
        self._report()
        for child in list(self._children):
            if self._timeout and not child.late and child.hangs(self._folder, self._timeout, self._batch_size):
                self._end_late(child)
            if child.gone:
                self._children.remove(child)
                self._settle(child)

    def _report(self) -> None:
        parts = self._folder.parts()
        died, self._told = len(self._died) - self._told, len(self._died)
        self._reporter.advance(self._folder.count(parts - self._known), died)
        self._known |= parts

    def _end_late(self, child: Child) -> None:
        child.late, child.suspects = True, child.entry(self._folder)
        child.process.terminate()
        try:
            child.process.wait(_GRACE / 6)
        except subprocess.TimeoutExpired:
            child.process.kill()

    def _settle(self, child: Child) -> None:
        """Draw the consequences of a worker's end."""
        child.close()
        if child.end and not child.late:
            if child.end.kind == "too many":
                raise TooManyErrors(child.end.text)
            if child.end.kind in ("refused", "failed"):
                self.reasons.append(f"{child.title}: {child.end.text}")
            if child.end.kind != "stopped":
                return
        entry = child.suspects or child.entry(self._folder)
        suspects = [id for id in entry.ids if find(self._plan, id) is not None] if entry else []
        log.warning("%s %s%s", child.title, child.how, f", working on {', '.join(suspects[:4])}" if suspects else "")
        if entry:
            entry.path.unlink(missing_ok=True)
        if entry and entry.alone and suspects:
            self._give_up(suspects[0], child)
            suspects = []
        self._restart(child, suspects, progress=bool(entry and entry.step > 1))

    def _give_up(self, id: str, child: Child) -> None:
        """An error row for an instance that a process did not survive alone."""
        message = f"{DIED}: the process {child.how} while this instance was predicted alone"
        if child.late:
            message = f"{LATE}: no answer within {self._timeout:g} s (--instance-timeout), alone"
        self._folder.append(
            [{**error_row(self._item(id), Failure(message)), "seconds": None, "worker": self._folder.worker}]
        )
        self._died.append(id)
        if len(self._died) > self._max_errors:
            raise TooManyErrors(
                f"{len(self._died)} instances killed their process or did not end, more than --max-errors "
                f"{self._max_errors}; the last: {message}"
            )

    def _item(self, id: str) -> Item:
        row = self._plan.slice(find(self._plan, id), 1).to_pylist()[0]
        return Item(row["id"], row["group_id"], row["index"])

    def _restart(self, child: Child, suspects: Sequence[str], progress: bool) -> None:
        deaths = 0 if progress else child.deaths + 1
        if deaths >= _MOST_DEATHS:
            self.reasons.append(f"{child.title} {child.how}, {deaths} times before it had begun")
            return
        alone = [id for id in dict.fromkeys((*suspects, *child.orders.alone)) if id not in self._died]
        skip = (*child.orders.skip, *self._died)
        orders = child.orders.model_copy(update={"alone": tuple(alone), "skip": skip})
        again = self._start(orders, deaths)
        again.tell(b"go")
        self._children.append(again)

    def _dismiss(self) -> None:
        """End all that still run; each writes what it has."""
        for child in self._children:
            child.stop()
        deadline = time.monotonic() + _GRACE
        for child in self._children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.close()


def _environment(number: int, count: int) -> dict[str, str]:
    """Threads and GPU of one worker. Two processes with two threads each on two cores run ten times slower."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return environment
