"""Masks as polygons that pycocotools turns back into the same pixels, holes and separate parts included.

An outline runs along the borders between pixels, so its corners are whole numbers. pycocotools toggles a column at
every horizontal edge that crosses the column's middle, at exactly the row below the edge, and ignores vertical
edges: the outline is filled to the pixel. A bridge that is walked in both directions toggles everything twice, so
it joins a hole, or a part, to another outline without a trace.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.spatial import KDTree

from amodal_bench.types import Mask

Points = NDArray[np.int64]  # (n, 2): x, y


def polygons(mask: Mask) -> list[list[float]]:
    """One flat polygon [x1, y1, x2, y2, ...] for each part of a mask (H, W); an empty mask has none.

    Parts are connected over edges. A hole is joined to its part, so that the union of the polygons is the mask.
    """
    parts, loops = _parts_and_loops(mask)
    of_part: dict[int, list[Points]] = {}
    for part, loop in zip(parts, loops, strict=True):
        of_part.setdefault(part, []).append(loop)
    return [_flat(_joined(walks)) for walks in of_part.values()]


def polygon(mask: Mask) -> list[float]:
    """A mask (H, W), not empty, as one flat polygon: its parts are joined too."""
    return _flat(_joined(_parts_and_loops(mask)[1]))


def _flat(points: Points) -> list[float]:
    flat: list[float] = points.astype(np.float64).ravel().tolist()
    return flat


def _parts_and_loops(mask: Mask) -> tuple[list[int], list[Points]]:
    """Every closed outline and the part that it belongs to; the outer one of a part comes before its holes."""
    box = next(iter(find_objects(mask.astype(np.uint8))), None)
    if box is None:
        return [], []
    top, left = box[0].start, box[1].start
    labels = np.pad(label(mask[box])[0], 1)
    x, y, above = _corners(labels > 0)
    parts, loops = [], []
    for loop in _walk(above):
        first = loop[0]  # the left end of a horizontal edge, with a pixel of the part above or below
        pixels = labels[y[first] : y[first] + 2, x[first] + 1]
        parts.append(int(pixels.max()))
        loops.append(np.stack([x[loop] + left, y[loop] + top], axis=1))
    return parts, loops


def _corners(padded: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(x, y, partner) of all corners by row and column.

    Corner k and k ^ 1 are the ends of a horizontal edge, k and partner[k] those of a vertical one. Where two pixels
    touch at a point only, there are two corners, linked such that each pixel keeps its own.
    """
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    cross = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero((nw ^ ne ^ sw ^ se) | cross)
    crossed = cross[y, x]
    corner = np.repeat(np.arange(len(x)), 1 + crossed)
    second = np.diff(corner, prepend=-1) == 0
    x, y = x[corner], y[corner]
    # Of a pair, the first has the horizontal edge to the left; the one whose vertical edge leads up sorts first.
    upper = np.where(crossed[corner] & ne[y, x], ~second, second)
    order = np.lexsort((upper, y, x))
    partner = np.empty_like(order)
    partner[order] = order.reshape(-1, 2)[:, ::-1].ravel()
    return x, y, partner


def _walk(partner: NDArray[np.int64]) -> list[list[int]]:
    """Closed walks over horizontal and vertical edges in turn, as numbers of corners."""
    vertical: list[Any] = partner.tolist()
    seen = bytearray(len(vertical))
    loops = []
    for start in range(0, len(vertical), 2):
        if seen[start]:
            continue
        loop: list[int] = []
        corner = start
        while not seen[corner]:
            seen[corner] = seen[corner ^ 1] = True
            loop += (corner, corner ^ 1)
            corner = vertical[corner ^ 1]
        loops.append(loop)
    return loops


def _joined(loops: list[Points]) -> Points:
    """One walk over all loops: from the first to each other one and back the same way, where they are closest."""
    main, *others = loops
    if not others:
        return main
    tree = KDTree(main)
    visits: dict[int, list[Points]] = {}
    for loop in others:
        distances, closest = map(np.asarray, tree.query(loop))
        nearest = int(np.argmin(distances))
        visits.setdefault(int(closest[nearest]), []).append(np.roll(loop, -nearest, axis=0))
    pieces = []
    for index in range(len(main)):
        corner = main[index : index + 1]
        pieces.append(corner)
        for loop in visits.get(index, ()):
            pieces += [loop, loop[:1], corner]
    points = np.concatenate(pieces)
    # An edge of no length divides by zero in pycocotools.
    repeated = (points == np.roll(points, 1, axis=0)).all(axis=1)
    distinct: Points = points[~repeated]
    return distinct
