"""One harness in which every amodal-segmentation method meets every amodal dataset under every protocol.

import amodal_bench as ab

kins = ab.load_dataset("kins", root="/data/kins")      # a sequence of AmodalSample
method = ab.load_method("convex_hull")                 # method.predict(queries, seeds) -> masks
run = ab.bench("convex_hull", "synthetic")             # as the command line does it
frame = run.frame()                                    # one row an instance: rate, iou_full, iou_inv, ...
ab.score(frame, "pooled/1")                            # values, intervals, buckets
ab.verify(run.path).ok                                 # the counts again, from the stored masks and the dataset
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amodal_bench.api import bench, load_dataset, load_method, measure, score, verify
    from amodal_bench.results.finished import FinishedRun, open_run

__all__ = ["FinishedRun", "bench", "load_dataset", "load_method", "measure", "open_run", "score", "verify"]


def __getattr__(name: str) -> Any:
    """Import the API on first use: `amodal-bench list` should not wait for pandas."""
    if name in __all__:
        from amodal_bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'amodal_bench' has no attribute {name!r}")
