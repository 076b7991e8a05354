"""The settings of training the things network. No torch here."""

from pydantic import Field

from amodal_bench.methods._training.settings import TrainerSettings


class ThingsTraining(TrainerSettings):
    """Things against background, from the visible masks of an image's things, united.

    `enlarge` and `shift` (a share of its side) draw the square around an instance, `colour` how far colours are
    changed.
    """

    enlarge: tuple[float, float] = (1.3, 2.6)
    shift: float = Field(default=0.1, ge=0, le=0.5)
    colour: float = Field(default=0.25, ge=0, lt=1)
