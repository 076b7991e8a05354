"""Families that lie flat or fly: animals, tools, and things with holes or in several pieces."""

import numpy as np

from .curves import TURN, Ring, arc, bar, hole, mirror, polar, polygon, smooth, solid
from .draw import Dice
from .shapes import Part


def fish(dice: Dice) -> list[Part]:
    """A fish with tail, fins and an eye."""
    high, tail = dice.between(300, 460), dice.between(320, 520)
    nose = dice.between(-1000, -900)
    half = [(nose, 0), (-650, -high * 7 // 10), (-150, -high), (350, -high * 55 // 100), (650, -90)]
    body = smooth(half + [(x, -y) for x, y in half[:0:-1]])
    fan = smooth([(560, 0), (800, -tail * 6 // 10), (1000, -tail), (930, 0), (1000, tail), (800, tail * 6 // 10)])
    fin = smooth(
        [
            (-350, -high * 8 // 10),
            (-150, -high - dice.between(150, 300)),
            (250, -high - 60),
            (300, -high // 2),
        ]
    )
    belly = smooth([(-150, high * 8 // 10), (60, high + dice.between(100, 220)), (200, high * 6 // 10)])
    side = smooth([(-280, 30), (-60, -20), (60, 90), (-60, 190)])
    fins = Part(tuple(solid(r) for r in (fan, fin, belly)), "plate", "accent")
    eye = (nose + 190, -high // 5)
    return [
        fins,
        Part((solid(body),)),
        Part((solid(side),), "plate", "accent"),
        Part((solid(arc(*eye, 62, 62, count=20)),), "plate", "light"),
        Part((solid(arc(*eye, 34, 34, count=16)),), "puff", "dark"),
    ]


def butterfly(dice: Dice) -> list[Part]:
    """A butterfly: two pairs of equal wings with spots, a body, feelers."""
    span, top = dice.between(780, 950), dice.between(-750, -520)
    low, drop = dice.between(480, 720), dice.between(520, 750)
    fore = smooth([(50, -120), (350, top + 40), (span * 9 // 10, top), (span, top + 250), (650, 60), (60, 90)])
    hind = smooth([(50, 30), (520, 20), (low + 50, 300), (low * 8 // 10, drop), (low * 4 // 10, drop - 60), (60, 260)])
    wings = [fore, hind]
    spots = [
        arc(span * 7 // 10, top + 240, 110, 100, count=20),
        arc(low * 7 // 10, drop * 6 // 10, 90, 90, count=20),
    ]
    body = smooth([(0, -420), (75, -330), (60, 0), (70, 250), (0, 520), (-70, 250), (-60, 0), (-75, -330)])
    feelers = [bar(20, -380, 180, -720, 16), bar(-20, -380, -180, -720, 16)]
    return [
        Part(tuple(solid(r) for r in [*wings, *map(mirror, wings)]), "plate"),
        Part(tuple(solid(r) for r in [*spots, *map(mirror, spots)]), "plate", "accent"),
        Part(tuple(solid(r) for r in [body, *feelers]), "puff", "dark"),
    ]


def leaf(dice: Dice) -> list[Part]:
    """A leaf with a saw edge or a plain one, a stalk and veins."""
    wide, widest = dice.between(330, 520), dice.between(-200, 200)
    saw, count = dice.choice((0, 0, 45, 60)), 14
    ribs = smooth(
        [
            (-1000, 10),
            ((widest - 1000) // 2, wide * 7 // 10),
            (widest, wide),
            ((widest + 700) // 2, wide * 8 // 10),
            (700, 10),
        ],
        closed=False,
    )
    side = ribs[:, ::-1].copy()
    notch = np.arange(len(side)) * count // len(side) * len(side) // count
    side[:, 0] += (np.arange(len(side)) - notch) * saw * count * 16 // len(side)
    outline = np.concatenate([side, mirror(side)[::-1]])
    veins = [bar(0, -850, 0, 700, 8, 22)]
    for y in range(-550, 600, 220):
        reach = wide * 6 // 10 * (900 - abs(y - widest)) // 900
        veins += [bar(0, y + 120, s * reach, y - 80, 12, 5) for s in (-1, 1)]
    stalk = Part((solid(bar(0, 600, 0, 1000, 32, 42)),), "puff", "wood")
    return [stalk, Part((solid(outline),), "plate"), Part(tuple(solid(v) for v in veins), "plate", "accent")]


def star(dice: Dice) -> list[Part]:
    """A star of five to eight points."""
    points, inner = dice.between(5, 8), dice.between(420, 620)
    corners = [(TURN * k // (2 * points), r, r) for k in range(2 * points) for r in [inner if k % 2 else 1000]]
    return [Part((solid(polar(corners)),))]


def gear(dice: Dice) -> list[Part]:
    """A cog wheel with a hole in the middle, often with round windows."""
    teeth, root = dice.between(8, 14), dice.between(760, 840)
    corners = []
    for k in range(teeth):
        for eighth, radius in ((0, root), (28, root), (38, 1000), (72, 1000), (82, root)):
            corners.append((TURN * (100 * k + eighth) // (100 * teeth), radius, radius))
    rings = [solid(polar(corners))]
    if dice.chance(50):
        axle, count, size = dice.between(130, 190), dice.between(4, 6), dice.between(120, 150)
        for x, y in (arc(0, 0, 470, 470, count=count) // 16).tolist():
            rings.append(hole(arc(x, y, size, size, count=28)))
    else:
        axle = dice.between(260, 460)
    return [Part((*rings, hole(arc(0, 0, axle, axle))), "plate")]


def wrench(dice: Dice) -> list[Part]:
    """A spanner: an open jaw at one end, a ring with a hole at the other."""
    jaw, grip = dice.between(300, 380), dice.between(110, 150)
    gap, eye = jaw * dice.between(42, 55) // 100, dice.between(200, 270)
    head = [(70 + (TURN - 140) * k // 28, jaw + 20, jaw) for k in range(29)]
    outline = np.concatenate(
        [
            polar(head, 680),
            polygon([(680 + jaw // 3, -gap), (620, -gap), (560, 0), (620, gap), (680 + jaw // 3, gap)]),
        ]
    )
    ring = arc(-760, 0, eye, eye)
    six = polar([(TURN * k // 6, eye * 55 // 100, eye * 55 // 100) for k in range(6)], -760)
    # The shaft ends short of the ring's hole, which could take away only one layer of it.
    shaft = bar(-760 + eye * 8 // 10, 0, 480, 0, grip, grip + 25)
    groove = bar(-350, 0, 250, 0, grip // 2, grip // 2 + 15)
    return [
        Part((solid(outline), solid(shaft), solid(ring), hole(six)), "plate"),
        Part((solid(groove),), "plate", "accent"),
    ]


def key(dice: Dice) -> list[Part]:
    """A key: a bow with one or three holes, a shaft, teeth."""
    bow, shaft = dice.between(330, 420), dice.between(75, 110)
    teeth, depth = dice.between(2, 4), dice.between(160, 260)
    ring: Ring = arc(-600, 0, bow, bow)
    if dice.chance(50):
        holes = [arc(-600 - bow // 4, 0, bow * 5 // 10, bow * 5 // 10, count=32)]
    else:
        centres = [(-600 - bow // 2, 0), (-600, -bow // 2), (-600, bow // 2)]
        holes = [arc(x, y, bow // 3, bow // 3, count=28) for x, y in centres]
    rings = [solid(ring), solid(bar(-600 + bow * 8 // 10, 0, 1000, 0, shaft))]
    for k in range(teeth):
        x = 940 - 200 * k
        length = depth - dice.between(0, 80)
        rings.append(solid(polygon([(x - 55, 0), (x + 55, 0), (x + 55, shaft + length), (x - 55, shaft + length)])))
    return [Part((*rings, *(hole(h) for h in holes)), "plate")]


def ring(dice: Dice) -> list[Part]:
    """A ring, round or a little oval, thick or thin."""
    high, inner = dice.between(800, 1000), dice.between(380, 680)
    outer = arc(0, 0, 1000, high, count=64)
    return [Part((solid(outer), hole(arc(0, 0, inner, inner * high // 1000))))]


def glasses(dice: Dice) -> list[Part]:
    """Spectacles: two frames with holes for the lenses, a bridge, two hinges."""
    wide, high = dice.between(380, 430), dice.between(280, 400)
    rim = dice.between(65, 100)
    rings = []
    for x in (-540, 540):
        rings += [solid(arc(x, 0, wide, high)), hole(arc(x, 0, wide - rim, high - rim))]
    bridge = smooth([(-190, -60), (0, -170), (190, -60), (190, 30), (0, -80), (-190, 30)])
    ends = [polygon([(s * 900, -140), (s * 1040, -170), (s * 1040, -20), (s * 900, -10)]) for s in (-1, 1)]
    return [Part((*rings, solid(bridge), *map(solid, ends)))]


def paw(dice: Dice) -> list[Part]:
    """A paw print of five separate pads."""
    wide, high = dice.between(430, 560), dice.between(330, 430)
    toe, spread = dice.between(170, 215), dice.between(100, 116)
    half = [
        (0, -high + 360),
        (wide * 6 // 10, -high * 4 // 10 + 360),
        (wide, high * 6 // 10 + 360),
        (wide * 6 // 10, high + 360),
        (0, high * 75 // 100 + 360),
    ]
    pad = smooth(half + [(-x, y) for x, y in half[-2:0:-1]])
    centres = [(-690, -130), (-260, -560), (260, -560), (690, -130)]
    toes = [arc(x * spread // 100, y * spread // 100, toe, toe * 14 // 10) for x, y in centres]
    return [Part(tuple(solid(r) for r in [pad, *toes]))]


def sun(dice: Dice) -> list[Part]:
    """A disc with rays that do not touch it."""
    rays, disc = dice.between(8, 14), dice.between(430, 560)
    half = TURN // (rays * dice.between(3, 4))
    inner = disc + dice.between(70, 110)
    rings = [arc(0, 0, disc, disc)]
    for k in range(rays):
        angle = TURN * k // rays
        rings.append(
            polar(
                [(angle, tip, tip) for tip in [850 if k % 2 else 1000]]
                + [(angle + w, inner, inner) for w in (-half, half)]
            )
        )
    return [Part(tuple(solid(r) for r in rings))]
