"""Images as the models' squares; an image that several instances show whole is brought to it once. No torch here."""

from threading import Lock
from typing import NamedTuple

from amodal_bench.masks.boxes import Window
from amodal_bench.types import Image

from ._window import cut_image


class _Square(NamedTuple):
    image: Image
    window: Window
    square: Image

    def serves(self, image: Image, window: Window) -> bool:
        """Whether this is that window of that image: of the same memory."""
        own, other = self.image.__array_interface__, image.__array_interface__
        return (
            window == self.window
            and own["data"][0] == other["data"][0]
            and (own["shape"], own["strides"]) == (other["shape"], other["strides"])
        )


class Squares:
    """Windows of images as squares of one size; the last one is kept, as instances of one image come in a row.

    For one call of `predict`: a dataset may fill the same memory with its next image after that.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._last: _Square | None = None
        self._making = Lock()  # two threads that need one image make it once

    def of(self, image: Image, window: Window) -> Image:
        """The window as uint8 (size, size, 3), not to be written to."""
        with self._making:
            last = self._last
            if last is None or not last.serves(image, window):
                square = cut_image(image, window, self._size)
                square.setflags(write=False)
                self._last = last = _Square(image, window, square)
            return last.square
