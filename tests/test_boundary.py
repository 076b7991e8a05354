"""What plugins do wrong: it becomes a row with words, and neither the truth nor the other instances suffer."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench import types
from amodal_bench.errors import Refused
from amodal_bench.resolve.job import Job, Request, prepare
from amodal_bench.running import run
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.running.held import Held
from amodal_bench.types import AmodalQuery, AmodalSample


@pytest.fixture
def job(plugins: Path, tmp_path: Path) -> Any:
    def make(method: str = "deadly", dataset: str = "squares", results: str = "results", **request: Any) -> Job:
        files = tuple(plugins / f"{name}.py" for name in ("squares", "deadly", "shifty", "dilate"))
        return prepare(Request(method=method, dataset=dataset, plugins=files, results=tmp_path / results, **request))

    return make


def errors(job: Job) -> dict[str, str]:
    rows = job.folder.instances()
    rows = rows[rows["status"] == "error"]
    return dict(zip(rows["id"], rows["error"], strict=True))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("sysexit", "SystemExit: 0"),
        ("mute", "MuteError: <exception str() failed>"),
        ("native", "NativeError: panicked at src/lib.rs"),
        ("surrogate", r"ValueError: no file \udcff here"),
        ("escape", r"ValueError: \x1b[31mred"),
    ],
)
def test_whatever_predict_raises_is_a_row(job: Any, how: str, text: str) -> None:
    bad = job(params={"how": how})
    run.bench(bad)
    assert errors(bad) == {f"squares/test/03/{k}": text for k in range(3)}
    assert bad.folder.record()["counts"]["done"] == 21


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("returns none", "TypeError: shifty/test/image2/0: the dataset must return an AmodalSample, got NoneType"),
        ("returns tuple", "TypeError: shifty/test/image2/0: the dataset must return an AmodalSample, got tuple"),
        ("exits", "SystemExit: 0"),
        ("another", "ValueError: shifty/test/image2/0: the dataset returned another instance, "
                    "'shifty/test/image3/0', at 2"),
        ("category", "ValueError: shifty/test/image2/0: category must be text or None, got 7"),
        ("surrogate", r"ValueError: shifty/test/image2/0: category must be text or None, got '\ud800'"),
        ("is_stuff", "ValueError: shifty/test/image2/0: is_stuff must be True, False or None, got 'yes'"),
    ],
)  # fmt: skip
def test_whatever_a_dataset_returns_is_a_row(job: Any, how: str, text: str) -> None:
    bad = job("visible", "shifty", options={"how": how})
    run.bench(bad)
    assert errors(bad) == {"shifty/test/image2/0": text}
    assert bad.folder.record()["counts"] == {"planned": 6, "asked": 6, "done": 5, "error": 1}


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("id surrogate", r"Shifty: an id must be text like DATASET/SPLIT/IMAGE/ANN, got 'shifty/test/caf\\udce90/0'"),
        ("id short", "Shifty: an id must be text like DATASET/SPLIT/IMAGE/ANN, got 'shifty/test'"),
        ("twice", "Shifty: the id shifty/test/image1/0 stands for two instances"),
        ("group", "Shifty: the group of shifty/test/image0/0 must be text, got 7"),
    ],
)
def test_ids_that_cannot_be_written_are_refused_before_anything_is(job: Any, how: str, text: str) -> None:
    bad = job("visible", "shifty", options={"how": how})
    with pytest.raises(Refused, match=text.replace("(", r"\(")):
        run.bench(bad)
    assert not bad.folder.path.exists()


@pytest.mark.parametrize("dataset", ["squares", "shifty"])
@pytest.mark.parametrize("how", ["in place", "through native code"])
def test_a_method_that_works_in_place_changes_no_truth(job: Any, how: str, dataset: str) -> None:
    """In `shifty` the visible mask of the first instance is the amodal array itself."""
    honest, rude = job(dataset=dataset), job(dataset=dataset, params={"how": how})
    run.bench(honest)
    run.bench(rude)
    truth = [f"v{k}" for k in range(8)]
    one, other = (j.folder.instances()[truth].to_numpy() for j in (honest, rude))
    if how == "in place":  # read-only arrays: each is an error with its reason
        assert set(errors(rude).values()) == {"ValueError: assignment destination is read-only"}
        return
    # Amodal and visible pixels are counted as they were: only which of them are predicted has changed.
    assert np.array_equal(one[:, ::2] + one[:, 1::2], other[:, ::2] + other[:, 1::2])
    assert (other[:, ::2] == 0).all()


def test_what_a_method_gets_shares_no_memory_with_what_is_counted() -> None:
    mask = np.ones((3, 4), dtype=np.bool_)
    image = np.zeros((3, 4, 3), dtype=np.uint8)
    held = Held.of(AmodalSample(AmodalQuery("a/b/c/0", "c", image, mask), mask, true_visible=mask))
    assert not held.query.visible.flags.writeable
    assert not held.query.image.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
        held.query.visible[:].setflags(write=True)
    with pytest.raises(ValueError, match="read-only"):
        held.query.image[:] = 1
    for counted in (held.amodal, held.visible, held.given, mask):
        assert counted is not None
        assert not np.shares_memory(counted, held.query.visible)
    before = held.counts(mask).tolist()
    mask[:] = False  # the dataset's buffer, filled again
    assert held.counts(np.ones((3, 4), dtype=np.bool_)).tolist() == before == [*[0] * 15, 12]


def test_a_dataset_that_fills_one_buffer_again_and_again_is_read_right(job: Any) -> None:
    """A batch is read before it is predicted: without copies all of it would be the last one."""
    whole, reused = (
        job(dataset="shifty", results="w"),
        job(dataset="shifty", results="r", options={"how": "one buffer"}),
    )
    run.bench(whole)
    run.bench(reused)
    counts = [f"v{k}" for k in range(8)]
    assert whole.folder.instances()[counts].equals(reused.folder.instances()[counts])


def test_one_array_for_several_queries_is_refused(job: Any) -> None:
    bad = job(params={"how": "one buffer"})
    run.bench(bad)
    told = errors(bad)
    assert len(told) == 24
    assert all(
        "SharedMask: predict returned one array for " in text and "return mask.copy()" in text for text in told.values()
    )


def test_a_vote_over_samples_is_not_of_one_buffer_either(job: Any) -> None:
    bad = job(params={"how": "one buffer", "voting": {"samples": 3}})
    run.bench(bad)
    assert all("SharedMask: predict returned one array for " in text for text in errors(bad).values())
    drawn = job("dilate", params={"voting": {"samples": 3, "vote": "union"}}, results="drawn")
    reused = job(params={"how": "one buffer", "voting": {"samples": 2}}, batch_size=1, results="one by one")
    assert not run.bench(drawn).errors
    assert not run.bench(reused).errors


def test_one_image_array_for_two_images_is_refused(job: Any) -> None:
    bad = job(dataset="shifty", options={"how": "one image"})
    run.bench(bad)
    assert errors(bad)["shifty/test/image1/0"] == (
        "ValueError: shifty/test/image1/0: the dataset returned one array for the images 'shifty/test/image0/0' and "
        "'shifty/test/image1/0': copy it"
    )


def test_a_batch_that_is_too_large_for_the_memory_is_cut_once(
    job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = tmp_path / "notes"
    tight = job(params={"how": "memory", "notes": str(notes)}, batch_size=8)
    assert run.bench(tight).errors.total() == 0
    sizes = [int(line.split()[0]) for line in notes.read_text().splitlines()]
    assert sizes == [8, 4, 2, *[1] * 24]
    assert [r.getMessage().split(" (")[0] for r in caplog.records if "out of memory" in r.getMessage()] == [
        f"out of memory at a batch of {n}: going on with {n // 2}" for n in (8, 4, 2)
    ]


def test_a_bad_instance_in_a_batch_is_found_by_halves(job: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    bad = job(params={"how": "native", "notes": str(notes)}, batch_size=24)
    run.bench(bad)
    assert len(errors(bad)) == 3
    assert len(notes.read_text().splitlines()) < 16


def test_a_pool_of_forked_workers_inside_predict_ends(job: Any) -> None:
    run.bench(job(params={"how": "pool"}))


def test_only_an_interrupt_passes_the_boundary() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(stop)
    failure = guarded(lambda: [][1])
    assert isinstance(failure, Failure)
    assert failure.message == "IndexError: list index out of range"
    assert f"{os.path.basename(__file__)}" in failure.trace  # noqa: PTH119
    assert failure.trace.endswith("IndexError: list index out of range\n")


@pytest.mark.parametrize("error", [MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("x")])
def test_want_of_memory_is_known_by_its_kind(error: BaseException) -> None:
    def fail() -> None:
        raise error

    failure = guarded(fail)
    assert isinstance(failure, Failure)
    assert failure.memory


def test_an_id_is_four_parts_of_text() -> None:
    types.check_id("a/b/c/d/e")
    for bad in ("a/b/c", 7, None, "a/b/c/\ud800"):
        with pytest.raises(ValueError, match="an id must be text like DATASET/SPLIT/IMAGE/ANN"):
            types.check_id(bad)
