"""Families that stand upright: vessels, a car, a chair and things that grow."""

from .curves import arc, bar, hoop, moved, polygon, smooth, solid
from .draw import Dice
from .shapes import Part, lathe, mouth


def vase(dice: Dice) -> list[Part]:
    """A turned vase with a neck, a belly and a foot."""
    lip, neck = dice.between(210, 360), dice.between(130, 230)
    belly, high = dice.between(430, 680), dice.between(-250, 250)
    foot = dice.between(200, 340)
    waist = (belly + foot) // 2
    side = [(-920, lip), (-700, neck), (high, belly), (700, waist), (900, foot), (940, foot)]
    return [lathe([side]), *mouth(-920, lip, 45)]


def bottle(dice: Dice) -> list[Part]:
    """A bottle with shoulders, a cap and often a label."""
    wide, neck = dice.between(270, 390), dice.between(95, 140)
    shoulder = dice.between(-400, -100)
    side = [(-800, neck), (shoulder - 200, neck), (shoulder, wide * 8 // 10), (shoulder + 150, wide)]
    body = lathe([side, [(shoulder + 150, wide), (960, wide)]])
    cap = lathe([[(-1000, neck + 25), (-800, neck + 25)]], "accent", rim=14)
    parts = [body, cap]
    if dice.chance(60):
        top, bottom = shoulder + dice.between(260, 360), dice.between(620, 800)
        parts.insert(1, lathe([[(top, wide), (bottom, wide)]], "light"))
    return parts


def mug(dice: Dice) -> list[Part]:
    """A mug: a handle with a hole, on a straight or narrowing body."""
    wide, foot = dice.between(440, 580), dice.between(75, 100)
    high = dice.between(560, 760)
    low = wide * foot // 100
    reach, thick = dice.between(330, 430), dice.between(85, 130)
    rise = high * dice.between(50, 68) // 100
    shift = -reach // 3
    handle = Part((solid(hoop(shift + wide * 85 // 100, 30, reach, rise, thick, -256, 256)),))
    body = lathe([[(-high, wide), (high * 6 // 10, (wide + low) // 2), (high, low)]])
    turned = Part(tuple(moved(r, shift) for r in body.rings), "lathe", "main", body.profile)
    opening = [Part(tuple(moved(r, shift) for r in p.rings), p.finish, p.tint) for p in mouth(-high, wide, 50)]
    return [handle, turned, *opening]


def goblet(dice: Dice) -> list[Part]:
    """A goblet: a bowl on a thin stem and a round foot."""
    bowl, lip = dice.between(380, 540), dice.between(320, 480)
    depth, foot = dice.between(-150, 80), dice.between(300, 430)
    stem = dice.between(45, 75)
    side = [(-950, lip), ((depth - 950) // 2, bowl), (depth, stem * 2), (depth + 130, stem), (650, stem)]
    return [lathe([side, [(650, stem), (780, stem * 2), (870, foot)]], rim=16), *mouth(-950, lip, 30)]


def teapot(dice: Dice) -> list[Part]:
    """A teapot: a round body with a spout on one side, a handle with a hole on the other, a lid."""
    wide, high = dice.between(520, 620), dice.between(430, 560)
    foot, top = wide * dice.between(50, 70) // 100, wide * dice.between(35, 55) // 100
    tip = dice.between(-420, -250)
    body = lathe(
        [
            [
                (-high, top),
                (-high * 6 // 10, wide * 82 // 100),
                (60, wide),
                (high * 7 // 10, wide * 8 // 10),
                (high, foot),
            ]
        ]
    )
    lid = lathe([[(-high - 130, 40), (-high - 90, top * 7 // 10), (-high + 20, top)]], "accent", rim=14)
    knob = Part((solid(arc(0, -high - 170, 75, 70)),), "puff", "accent")
    spout = smooth(
        [
            (-wide * 6 // 10, 250),
            (-wide - 150, 60),
            (-wide - 250, tip),
            (-wide - 350, tip - 20),
            (-wide - 330, tip + 90),
            (-wide - 230, 230),
            (-wide * 6 // 10, 420),
        ]
    )
    handle = hoop(wide * 8 // 10, 0, dice.between(440, 540), high * 75 // 100, dice.between(85, 120), -256, 256)
    return [Part((solid(spout),)), Part((solid(handle),)), body, lid, knob]


def apple(dice: Dice) -> list[Part]:
    """An apple with a dimple, a stem and often a leaf."""
    wide, low = dice.between(720, 860), dice.between(680, 800)
    foot = dice.between(200, 330)
    half = [
        (0, -470),
        (230, -620),
        (560, -580),
        (wide, -150),
        (wide * 85 // 100, 300),
        (foot * 2, low - 80),
        (foot // 2, low),
        (0, low - 70),
    ]
    outline = smooth(half + [(-x, y) for x, y in half[-2:0:-1]])
    lean = dice.between(-140, 140)
    parts = [Part((solid(outline),)), Part((solid(bar(0, -430, lean, -900, 30, 45)),), "puff", "wood")]
    if dice.chance(60):
        leaf = smooth([(lean // 2, -650), (200, -880), (480, -930), (620, -860), (420, -720), (200, -640)])
        parts.append(Part((solid(leaf),), "plate", "accent"))
    return parts


def mushroom(dice: Dice) -> list[Part]:
    """A mushroom: a dome on a stem, often with dots."""
    wide, dome = dice.between(680, 900), dice.between(-850, -650)
    brim = dice.between(-50, 120)
    stem, foot = dice.between(150, 240), dice.between(190, 300)
    stalk = lathe([[(brim - 100, stem), (400, stem), (780, foot), (880, foot)]], "light", rim=18)
    half = [
        (0, dome),
        (wide * 55 // 100, dome * 82 // 100),
        (wide * 93 // 100, dome * 3 // 10),
        (wide, brim),
        (wide * 6 // 10, brim + 90),
        (0, brim + 120),
    ]
    cap = Part((solid(smooth(half + [(-x, y) for x, y in half[-2:0:-1]])),))
    parts = [stalk, cap]
    if dice.chance(60):
        spots = [(-55, 35, 12), (-15, 65, 15), (30, 32, 14), (62, 12, 10), (-20, 20, 9)]
        rings = [arc(wide * x // 100, dome * y // 100, wide * r // 100, wide * r // 115, count=20) for x, y, r in spots]
        parts.append(Part(tuple(solid(r) for r in rings), "plate", "light"))
    return parts


def tree(dice: Dice) -> list[Part]:
    """A fir of two to four tiers, or a round crown, on a trunk."""
    trunk = lathe([[(200, 90), (850, 110), (950, 140)]], "wood", rim=16)
    if dice.chance(60):
        tiers, wide = dice.between(2, 4), dice.between(480, 680)
        parts = [trunk]
        for k in reversed(range(tiers)):
            top, bottom = -1000 + 1150 * k // (tiers + 1), -1000 + 1550 * (k + 1) // tiers
            spread = wide * (k + 2) // (tiers + 1)
            parts.append(lathe([[(top, 10), (bottom, spread)]], rim=22))
        return parts
    lobes, size = dice.between(5, 8), dice.between(430, 540)
    bumps = [arc(0, -330, size, size)]
    for k in range(lobes):
        x, y = (int(v) // 16 for v in arc(0, -330, size * 9 // 10, size * 8 // 10, count=lobes)[k])
        bumps.append(arc(x, y, size * 45 // 100, size * 45 // 100, count=24))
    return [trunk, Part(tuple(solid(r) for r in bumps))]


def car(dice: Dice) -> list[Part]:
    """A car from the side: body, cabin with windows, two wheels."""
    roof, hood = dice.between(-520, -400), dice.between(-200, -110)
    back, front = dice.between(-560, -350), dice.between(180, 330)
    wheel, axle = dice.between(190, 240), dice.between(530, 610)
    body = smooth(
        [
            (-980, 160),
            (-990, -20),
            (-900, hood - 30),
            (back - 160, hood - 40),
            (back + 40, roof),
            (front - 120, roof),
            (front + 210, hood),
            (850, hood + 50),
            (990, 30),
            (990, 200),
            (700, 250),
            (-700, 250),
        ]
    )
    sill, lid = hood - 30, roof + 75
    middle = (back + front) // 2
    rear = polygon([(back - 60, sill), (back + 80, lid), (middle - 30, lid), (middle - 30, sill)])
    fore = polygon([(middle + 30, sill), (middle + 30, lid), (front - 120, lid), (front + 90, sill)])
    parts = [Part((solid(body),)), Part((solid(rear), solid(fore)), "plate", "glass")]
    tyres = tuple(solid(arc(x, 240, wheel, wheel, count=40)) for x in (-axle, axle))
    hubs = tuple(solid(arc(x, 240, wheel * 55 // 100, wheel * 55 // 100, count=32)) for x in (-axle, axle))
    lamp = Part((solid(arc(925, 0, 45, 60, count=20)),), "puff", "light")
    return [*parts, lamp, Part(tyres, "puff", "dark"), Part(hubs, "plate", "light")]


def chair(dice: Dice) -> list[Part]:
    """A chair from the front: a back with slats and gaps, a seat, four legs."""
    wide, seat = dice.between(430, 560), dice.between(40, 160)
    post, slats, slat = dice.between(55, 85), dice.between(1, 4), dice.between(60, 80)
    back = [bar(-wide, -950, -wide, seat, post), bar(wide, -950, wide, seat, post)]
    for k in range(slats):
        y = -850 + (seat + 700) * k // slats
        back.append(bar(-wide, y, wide, y, slat))
    rear = [bar(x, seat, x * 85 // 100, 760, 50) for x in (-wide, wide)]
    legs = [bar(x, seat + 100, x, 980, 65, 50) for x in (-wide - 50, wide + 50)]
    board = smooth(
        [
            (-wide - 20, seat - 60),
            (0, seat - 70),
            (wide + 20, seat - 60),
            (wide + 140, seat + 130),
            (0, seat + 160),
            (-wide - 140, seat + 130),
        ],
        steps=5,
    )
    frame = Part(tuple(solid(r) for r in rear + back))
    return [frame, Part(tuple(solid(r) for r in legs)), Part((solid(board),), "plate", "accent")]


def lamp(dice: Dice) -> list[Part]:
    """A table lamp: a shade on a turned base."""
    top, wide = dice.between(220, 380), dice.between(520, 700)
    edge, body = dice.between(-180, 0), dice.between(170, 330)
    shade = lathe([[(-950, top), (edge, wide)]], "light", rim=12)
    foot = dice.between(250, 380)
    side = [(edge - 60, 50), (edge + 180, 60), (480, body), (760, 110), (800, foot), (900, foot)]
    return [lathe([side]), shade]
