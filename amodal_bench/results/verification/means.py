"""What a verification may use of this machine: what its command line names, never what a record says."""

from pathlib import Path

from amodal_bench.plugin import Settings
from amodal_bench.resolve.locate import DataFlags


class Means(Settings):
    """Flags of the command.

    `quick`: without the dataset. `visible`: the file that `--visible predicted:FILE` names here. `workers`: processes;
    None takes as many as pay.
    """

    quick: bool = False
    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None
    plugins: tuple[Path, ...] = ()
    visible: str | None = None
    weights: Path | None = None
    checkpoint: Path | None = None
    workers: int | None = None

    @property
    def flags(self) -> DataFlags:
        """Where the dataset lies."""
        return DataFlags(data_root=self.data_root, root=self.root, image_root=self.image_root)
