"""Ways to damage a file: its bytes, the values in it, its format, its place on the disk."""

import gzip
import io
import json
import pickle
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.running.guard import Failure, guarded

IMAGES = (".png", ".jpg", ".bmp")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16")
HOLDS = {  # the modes that a format can hold
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "GIF": ("1", "L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": MODES,
    "WEBP": ("RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I", "F"),
}
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 7, 0.5, -0.0, 1.0, 1e12, -1e12, 2e8, 1e300, 2**31, 2**31 - 1, -(2**31), 2**32, 2**53, 2**63, 2**64,
    10**30, 10**400, 30_000, 30_001, 50_000_001, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS = (
    "", " ", "a", "7", "007", "7.0", "1e999", "nan", "..", ".", "/", "a/b", "../../x", "a\0b", "\ud800", "é", "²", "٣",
    "9" * 5000, "x" * 300, "x/" * 300, "true", "b'", "b''", "0 1 2", "`", "\U0001f41f", "C:\\x", "file:///x", "%00",
    "*", "A" * 200_000, "car_visible", "amodal", "mask", "circle", "rectangle", "line", "data:image/png;base64,",
    "iVBORw0KGgo=",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [{}], [None], [0], [1, 2, 3], {"size": [20, 32], "counts": ""}, {"size": [20, 32]},
    {"size": [20, 32], "counts": [640]}, {"size": [20, 32], "counts": [0, 640]}, {"counts": "x"},
    {"size": [1, 10**9], "counts": [10**9]}, {"size": [30_000, 30_000], "counts": [900_000_000]},
    {"size": [20, 32], "counts": "o" * 99}, [[0, 0, 1e9, 0, 1e9, 1e9]], [[0.0] * 6], [[float("nan")] * 6], {"": None},
)  # fmt: skip


def damage(root: Path, rng: random.Random) -> list[str]:
    """Damage some files below a folder; says which and how."""
    told = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            break
        path = rng.choice(_spread(files, rng))
        way = rng.choice(list(_ways(path, rng)))
        told.append(f"{path.relative_to(root)}: {way.__name__.strip('_')}")
        way(path, rng)
    return told


def _spread(files: list[Path], rng: random.Random) -> list[Path]:
    """The files with one suffix, so that a few annotation files are damaged as often as many images."""
    suffix = rng.choice(sorted({path.suffix for path in files}))
    return [path for path in files if path.suffix == suffix]


def _ways(path: Path, rng: random.Random) -> Iterator[Callable[[Path, random.Random], None]]:
    yield from (_flip, _cut)
    if rng.random() < 0.2:
        yield from (_empty, _lose, _folder, _link, _loop, _swap, _grow)
    if path.suffix == ".json":
        yield from (_tree,) * 12
        yield from (_pack, _token, _deep)
    elif path.suffix == ".pkl":
        yield from (_pickle,) * 6
    elif path.suffix == ".parquet":
        yield from (_table,) * 4
    elif path.suffix == ".npy":
        yield from (_array, _array, _header)
    elif path.suffix == ".txt":
        yield from (_row,) * 3
    elif path.suffix in IMAGES:
        yield from (_again,) * 4
        yield from (_png_header, _png_header)


# Bytes


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        if data:
            at = rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))
            data[at] = rng.choice((rng.randrange(256), data[at] ^ (1 << rng.randrange(8)), 0, 255))
    path.write_bytes(data)


def _cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    start, stop = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    path.write_bytes(rng.choice((data[:stop], data[start:], data[:start] + data[stop:], data[:stop] + data[start:])))


def _grow(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() * rng.choice((2, 3)))


# The disk


def _empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(
        rng.choice((b"", b"\0" * 100, b"\n", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"))
    )


def _lose(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.3 and path.parent.parent.name:
        shutil.rmtree(path.parent)
        path.parent.mkdir()
    else:
        path.unlink()


def _folder(path: Path, rng: random.Random) -> None:  # noqa: ARG001  (as the others)
    path.unlink()
    path.mkdir()


def _link(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice(("nowhere", "..", ".", "/dev/null")))


def _loop(path: Path, rng: random.Random) -> None:  # noqa: ARG001
    path.unlink()
    path.symlink_to(path.name)


def _swap(path: Path, rng: random.Random) -> None:
    other = rng.choice([other for other in path.parent.rglob("*") if other.is_file() and not other.is_symlink()])
    path.write_bytes(other.read_bytes())


# JSON and pickles


def _tree(path: Path, rng: random.Random) -> None:
    tree = guarded(lambda: json.loads(path.read_bytes()))
    if isinstance(tree, Failure):  # damaged before
        return _flip(path, rng)
    path.write_text(json.dumps(_changed(tree, rng)))
    return None


def _pickle(path: Path, rng: random.Random) -> None:
    tree = guarded(lambda: pickle.loads(path.read_bytes()))
    if isinstance(tree, Failure):
        return _flip(path, rng)
    path.write_bytes(pickle.dumps(_changed(tree, rng), protocol=rng.randrange(6)))
    return None


def _changed(tree: Any, rng: random.Random) -> Any:
    """The tree with some values replaced, removed, doubled or exchanged."""
    box = [tree]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holders = list(_holders(box, rng))
        holder, key = rng.choice(holders)
        other, same = rng.choice(holders)
        way = rng.randrange(8)
        if way == 0 and holder is not box:
            del holder[key]
        elif way == 1 and isinstance(holder, list) and holder is not box:
            holder.insert(key, holder[key])
        elif way == 2 and isinstance(holder, dict):
            holder[rng.choice((*TEXTS[:-8], key))] = holder.pop(key)
        elif way == 3:
            holder[key] = _copy(other[same])
        else:
            holder[key] = _copy(rng.choice(rng.choice((NUMBERS, TEXTS, OTHERS))))
    return box[0]


def _holders(tree: Any, rng: random.Random) -> Iterator[tuple[Any, Any]]:
    """Where values stand; of long lists some."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    for key in keys if len(keys) < 30 else rng.sample(keys, 10):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _holders(tree[key], rng)


def _copy(tree: Any) -> Any:
    return pickle.loads(pickle.dumps(tree))


def _token(path: Path, rng: random.Random) -> None:
    text = path.read_bytes()
    at = rng.randrange(len(text) + 1)
    tokens = (
        b",",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"NaN",
        b"-Infinity",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\xef\xbb\xbf",
        b"1e999",
        b"/*",
        b"9" * 5000,
    )
    path.write_bytes(text[:at] + rng.choice(tokens) + text[at:])


def _deep(path: Path, rng: random.Random) -> None:
    """A value nested without end."""
    text = path.read_bytes()
    colons = [k for k, byte in enumerate(text) if byte == ord(":")]
    at = rng.choice(colons) + 1 if colons else 0
    times = rng.choice((60, rng.randrange(800, 1000), 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    value = opening * times + rng.choice((b"", b"0")) + (closing * times if rng.random() < 0.8 else b"")
    value = value if opening == b"[" else value.replace(b":}", b":0}")
    path.write_bytes(text[:at] + value + (b"," if rng.random() < 0.5 else b', "b":') + text[at:])


def _pack(path: Path, rng: random.Random) -> None:
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed)
    if rng.random() < 0.6:
        rng.choice((_flip, _cut))(path, rng)


def _row(path: Path, rng: random.Random) -> None:
    rows = path.read_text(errors="replace").splitlines() or [""]
    number = rng.randrange(len(rows))
    rows[number] = rng.choice(
        (rows[number] * 2, rows[number].replace("_", ","), *TEXTS[:-8], "9_9", "0_0_0", "1,x", "x,1,1")
    ).replace("\ud800", "")
    path.write_text("\n".join(rows))


def _table(path: Path, rng: random.Random) -> None:
    """Columns of another type, or missing."""
    table = guarded(lambda: pq.read_table(path))
    names = guarded(lambda: pq.read_schema(path).names)
    if isinstance(table, Failure) or isinstance(names, Failure):
        return _flip(path, rng)
    column = rng.randrange(table.num_columns)
    name = names[column]
    values: list[Any] = rng.choice(
        (
            [None],
            ["x"],
            [1.5],
            [2**60],
            [b"\xff"],
            [[1, 2]],
            [{"a": 1}],
            [True],
            [float("nan")],
            ["\0"],
            [[]],
            ["9" * 5000],
        )
    )
    table = table.set_column(column, name, pa.array(values * len(table))) if rng.random() < 0.8 else table.drop([name])
    pq.write_table(table, path)
    return None


# Images and arrays


def _again(path: Path, rng: random.Random) -> None:
    """The image in another format, mode or size, under the same name."""
    image = guarded(lambda: PIL.Image.open(path).convert("RGB"))
    if isinstance(image, Failure):
        return _flip(path, rng)
    size = rng.choice((image.size, image.size[::-1], (1, 1), (image.width + 1, image.height), (3000, 2)))
    mode, format = rng.choice([(mode, format) for format, modes in HOLDS.items() for mode in modes])
    image.resize(size).convert("L").convert(mode).save(path, format)
    if rng.random() < 0.5:
        rng.choice((_flip, _cut))(path, rng)
    return None


def _png_header(path: Path, rng: random.Random) -> None:
    """Another width, height, depth, colour or length of a chunk, with a right checksum."""
    data = bytearray(path.read_bytes())
    if not data.startswith(b"\x89PNG") or len(data) < 33:
        return _flip(path, rng)
    way = rng.randrange(4)
    if way < 2:
        side = rng.choice((0, 1, 19, 33, 7000, 30_001, 2**31 - 1, 2**32 - 1))
        data[16 + 4 * way : 20 + 4 * way] = struct.pack(">I", side)
    elif way == 2:
        data[24:29] = bytes(
            (rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1)), 0, 0, rng.choice((0, 1, 2)))
        )
    else:
        text = zlib.compress(b"\0" * rng.choice((10, 30_000_000)))
        kind = rng.choice((b"zTXt", b"iCCP", b"eXIf", b"tEXt", b"tRNS", b"PLTE", b"acTL", b"iTXt"))
        body = b"name\0\0" + text if kind != b"eXIf" else b"Exif\0\0II*\0\xff\xff\xff\xff"
        data[33:33] = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return None


def _array(path: Path, rng: random.Random) -> None:
    array = guarded(lambda: np.load(path))
    if not isinstance(array, np.ndarray):
        return _flip(path, rng)
    changes: tuple[Callable[[], Any], ...] = (
        lambda: array.astype(float), lambda: array.astype(bool), array.ravel, lambda: array[None], lambda: array.T,
        lambda: array[:0], lambda: array.astype("U3"), lambda: array.astype(object), lambda: array.astype(">i8"),
        lambda: array.astype(np.uint64) + (1 << 63), lambda: -array, lambda: array[:1, :1],
    )  # fmt: skip
    other = guarded(rng.choice(changes))
    if isinstance(other, Failure):  # it was changed before
        return _flip(path, rng)
    sink = io.BytesIO()
    rng.choice((np.save, np.savez))(sink, other)
    path.write_bytes(sink.getvalue())
    return None


def _header(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    start, end = data.find(b"{"), data.find(b"}")
    if start < 0 or end < start:
        return _flip(path, rng)
    shapes = (
        "(24, 32)",
        "(99999999, 99999999)",
        "(-1, 5)",
        "(24,)",
        "()",
        "24",
        "[24, 32]",
        "(24.0, 32)",
        "(0, 0)",
        "((((",
    )
    kinds = (
        "'<i4'",
        "'|O'",
        "[('a', '<i4')]",
        "'V99999'",
        "None",
        "'<M8[ns]'",
        "'x'",
        "'<f4'",
        "(" * 500,
        "'<i1'",
        "'<U9'",
    )
    order = rng.choice(("False", "True", "None", "1"))
    text = f"{{'descr': {rng.choice(kinds)}, 'fortran_order': {order}, 'shape': {rng.choice(shapes)}, }}"
    data = data[:start] + text.encode().ljust(end + 1 - start) + data[end + 1 :]
    path.write_bytes(data)
    return None
