"""The settings of training the tiny segmenter. No torch here."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from amodal_bench.methods._segment.load import SHIPPED
from amodal_bench.methods._training.settings import TrainerSettings


class SamTraining(TrainerSettings):
    """Modal segmentation of whole objects from points, in images of 64 x 64 pixels.

    Prompts are `points` pixels, of the whole object or (`pieces` of the time) of a piece of it. `black` and
    `own_colours` are the shares of images whose background becomes black or the object's blurred colours, as the
    inpainting pipeline shows them; `soften` that of images that are blurred and made noisy a little, as inpainted ones
    are. `enlarge` and `shift` draw the window. `modal` takes objects of which parts are hidden as well, and what is
    seen of them for the answer; without it they are refused. `start` is a segmenter's weights to go on from: a file, or
    the name of shipped ones (sam-nano).
    """

    old_names: ClassVar = {**TrainerSettings.old_names, "own": "own_colours"}
    kept_names: ClassVar = {"own_colours": "own"}
    added_names: ClassVar = ("modal", "start")

    points: int = Field(default=9, ge=1)
    pieces: float = Field(default=0.6, ge=0, le=1)
    black: float = Field(default=0.4, ge=0, le=1)
    own_colours: float = Field(default=0.2, ge=0, le=1)
    soften: float = Field(default=0.6, ge=0, le=1)
    enlarge: tuple[float, float] = (1.3, 2.4)
    shift: float = Field(default=0.1, ge=0, le=0.5)
    colour: float = Field(default=0.2, ge=0, lt=1)
    modal: bool = False
    start: Path | None = None

    @field_validator("start")
    @classmethod
    def _shipped(cls, start: Path | None) -> Path | None:
        shipped = SHIPPED / str(start) / "synthetic" / "model.safetensors"
        return shipped if start and shipped.is_file() else start
