"""What brings the given image back between the steps: Eq. 7 of the tuning-free paper, and the outside kept."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def eq7(new: Tensor, known: Tensor, area: Tensor, strength: float) -> Tensor:
    """s (M new + (1 - M) known) + (1 - s) known, with the weights collected: exact at weights of 0 and 1."""
    weight = strength * area
    return weight * new + (1 - weight) * known


def noised(scheduler: Any, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The clean latents as they are at one time (1,) of the schedule."""
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(clean, time, noise)
    return scheduler.add_noise(clean, noise, time)


class Leak:
    """Mixes the given latents in after every step; a pipeline's `callback_on_step_end`.

    `clean`, `noise` and `area` have the form that the pipeline's latents have (packed for Flux). With a strength
    of 1 only the outside is brought back.
    """

    def __init__(self, clean: Tensor, noise: Tensor, area: Tensor, strength: float) -> None:
        self._clean, self._noise, self._area, self._strength = clean, noise, area, strength

    def __call__(self, pipe: Any, step: int, time: Tensor, values: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """Latents after step `step`: known ones have the noise of the next time, and none after the last."""
        following = pipe.scheduler.timesteps[-pipe.num_timesteps :][step + 1 : step + 2]
        known = noised(pipe.scheduler, self._clean, self._noise, following) if len(following) else self._clean
        return {"latents": eq7(values["latents"], known.to(self._clean.dtype), self._area, self._strength)}
