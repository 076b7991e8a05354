"""The families by name: how each is drawn, how large, whether it stands, and how it is coloured."""

from typing import Final

from . import lying, standing
from .shapes import Family, Look

_GLAZED = Look(gloss=(0.3, 0.9), textures=("plain", "bands", "spots", "marble", "checks", "blotch"))
_STEEL = Look(((20, 50), (190, 230)), (0.05, 0.35), (0.55, 0.85), 75, (0.4, 0.9), ("plain", "brushed", "brushed"))
_BRIGHT = Look(saturation=(0.55, 0.95), value=(0.6, 0.98))
_PLANT = Look(((75, 150), (15, 55)), (0.5, 0.9), (0.35, 0.75), 0, (0.03, 0.2), ("plain", "blotch", "marble"))
_FRUIT = Look(
    ((0, 15), (45, 105), (345, 360)), (0.65, 0.92), (0.6, 0.92), 0, (0.3, 0.7), ("plain", "blotch", "streaks")
)
_WOOD = Look(((15, 40), (0, 360)), (0.3, 0.75), (0.4, 0.85), 0, (0.05, 0.3), ("wood", "wood", "plain"))
_PAINT = Look(
    saturation=(0.5, 0.95),
    value=(0.5, 0.95),
    gloss=(0.6, 1.0),
    textures=("plain", "plain", "bands", "checks"),
)

FAMILIES: Final = (
    Family("vase", standing.vase, (170, 300), True, _GLAZED),
    Family("bottle", standing.bottle, (190, 340), True, _GLAZED),
    Family("mug", standing.mug, (170, 290), True, _GLAZED),
    Family("goblet", standing.goblet, (190, 330), True, _GLAZED),
    Family("teapot", standing.teapot, (190, 300), True, _GLAZED),
    Family("apple", standing.apple, (150, 270), True, _FRUIT),
    Family("mushroom", standing.mushroom, (160, 290), True, Look(((0, 50),), (0.4, 0.9), (0.45, 0.9))),
    Family("tree", standing.tree, (190, 320), True, _PLANT),
    Family("car", standing.car, (210, 330), True, _PAINT),
    Family("chair", standing.chair, (210, 340), True, _WOOD),
    Family("lamp", standing.lamp, (180, 320), True, _GLAZED),
    Family("fish", lying.fish, (210, 350), False, _BRIGHT),
    Family("butterfly", lying.butterfly, (190, 320), False, _BRIGHT),
    Family("leaf", lying.leaf, (210, 350), False, _PLANT),
    Family("star", lying.star, (170, 290), False, _BRIGHT),
    Family("gear", lying.gear, (170, 300), False, _STEEL),
    Family("wrench", lying.wrench, (280, 400), False, _STEEL),
    Family("key", lying.key, (280, 400), False, _STEEL),
    Family("ring", lying.ring, (170, 300), False, _BRIGHT),
    Family("glasses", lying.glasses, (290, 400), False, _PAINT),
    Family("paw", lying.paw, (190, 320), False, _BRIGHT),
    Family("sun", lying.sun, (190, 320), False, _BRIGHT),
)
