"""The settings of the things network. No torch here."""

from pydantic import Field

from amodal_bench.methods._window import CropSettings
from amodal_bench.plugin import Settings

DEEPEST = 16  # the network halves its input four times


class ThingsSettings(Settings):
    """A network that says of every pixel whether it shows a thing, of whatever kind, or background.

    `checkpoint` is a file below the tree of weights. It sees a square of `enlarge` times the longer side of the visible
    box, moved into the image, at `resolution` pixels; outside of it no thing is known of.
    """

    checkpoint: str = "hull_things/synthetic+composites/model.safetensors"
    resolution: int = Field(default=96, ge=2 * DEEPEST, le=1024, multiple_of=DEEPEST)
    enlarge: float = Field(default=2.0, ge=1.0)

    @property
    def window(self) -> CropSettings:
        """What is shown to it."""
        return CropSettings(mode="square", enlarge=self.enlarge, masks="area")
