"""`verify`: whether the numbers of runs follow from their folders and the dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console, reporter
from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.resolve.predicted_visible import absolute
from amodal_bench.results.verification.check import verify as verify_run
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.result import Outcome, Verification
from amodal_bench.running.interrupts import Interrupted, interruptible
from amodal_bench.store.folder import RunFolder, runs_below

console = make_console()


def verify(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or one that holds runs.")],
    quick: Annotated[bool, typer.Option("--quick", help="The folder alone, without the dataset.")] = False,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    visible: Annotated[
        str | None, typer.Option(metavar="predicted:FILE", help="Where the visible masks of the run lie now.")
    ] = None,
    weights: o.Weights = None,
    checkpoint: o.Checkpoint = None,
    plugin: o.Plugins = None,
    workers: Annotated[int | None, typer.Option(help="Processes [default: as many as pay].")] = None,
) -> None:
    """Make every count again from the stored masks and the dataset; say what differs. Never uses a model.

    Exit codes: 0 all verified, 1 something differs, 2 something could not be looked at.
    """
    if workers is not None and workers < 1:
        raise Refused(f"--workers takes a whole number from 1, got {workers}")
    folders = [folder for path in run for folder in runs_below(path)]
    if root:
        _check_one_dataset(folders)
    means = Means(
        quick=quick,
        plugins=tuple(path.absolute() for path in o.none_if_empty(plugin)),
        visible=absolute(visible) if visible else None,
        workers=workers,
        **o.absolute_all(data_root=data_root, root=root, image_root=image_root, weights=weights, checkpoint=checkpoint),
    )
    found = [_told(folder, means) for folder in folders]
    outcomes = Counter(verification.outcome for verification in found)
    if len(found) > 1:
        _say(f"{len(found)} runs: " + ", ".join(f"{outcomes[name]} {text}" for name, text in _WORDS.items()))
    if outcomes["differs"] or outcomes["refused"]:
        raise typer.Exit(1 if outcomes["differs"] else 2)


_WORDS: dict[Outcome, str] = {"verified": "verified", "differs": "differ", "refused": "not verified"}


def _told(folder: RunFolder, means: Means) -> Verification:
    """Verify one run and print what was found."""
    try:
        with interruptible(), reporter(console, f"verify {folder.path.name}") as r:
            found = verify_run(folder, means, r)
    except Interrupted as interrupt:
        raise typer.Exit(interrupt.code) from None
    _say(str(found))
    for line in found.differences:
        _say(f"  - {line}")
    if found.differences and found.refusal:
        _say(f"  - not verified further: {found.refusal}")
    for line in found.notes:
        _say(f"  note: {line}")
    return found


def _say(text: str) -> None:
    console.print(text, soft_wrap=True)


def _check_one_dataset(folders: Sequence[RunFolder]) -> None:
    names = sorted(set(_datasets(folders)))
    if len(names) > 1:
        raise Refused(f"--root is one dataset's folder, but these runs are of {', '.join(names)}: use --data-root")


def _datasets(folders: Sequence[RunFolder]) -> Iterator[str]:
    for folder in folders:
        try:
            yield folder.spec().dataset
        except RunDamaged:  # told when it is its turn
            continue
