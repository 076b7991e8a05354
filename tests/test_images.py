"""Image files as people have them: depths, modes, damage, and what is no image at all."""

import contextlib
import logging
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.masks import images
from amodal_bench.masks.file_kind import kind_of
from amodal_bench.masks.framing import Facts, fits
from amodal_bench.masks.images import examine, image_size, read_image, read_mask, remarks

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 6, 8


@pytest.fixture
def grey(rng: np.random.Generator) -> Pixels:
    levels = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    levels[0, :2] = 0, 255
    return levels


@pytest.fixture
def inside() -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[1:4, 2:7] = True
    return mask


def saved(path: Path, image: PIL.Image.Image, kind: str = "PNG", **options: object) -> Path:
    image.save(path, kind, **options)
    return path


def grey_of(path: Path) -> Pixels:
    image = read_image(path)
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    return image[..., 0]


# Photos


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_16_bits_the_high_eight_are_the_photo(tmp_path: Path, grey: Pixels, kind: str) -> None:
    deep = grey.astype(np.uint16) * 256 + 77
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(deep), kind)
    np.testing.assert_array_equal(grey_of(path), grey)


def test_of_16_bits_with_the_high_byte_first_too(tmp_path: Path, grey: Pixels) -> None:
    deep = PIL.Image.frombytes("I;16B", (WIDTH, HEIGHT), (grey.astype(np.uint16) * 256 + 3).astype(">u2").tobytes())
    np.testing.assert_array_equal(grey_of(saved(tmp_path / "a.tif", deep, "TIFF")), grey)


def png(path: Path, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG spelled by hand, for what Pillow reads and does not write."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return path


def test_of_16_bits_a_colour_the_high_eight_too(tmp_path: Path, rng: np.random.Generator) -> None:
    deep = rng.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    np.testing.assert_array_equal(read_image(png(tmp_path / "a.png", 16, 2, rows)), deep >> 8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_left_out_and_not_blended(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    colours = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(colours), kind, lossless=True, exact=True)
    np.testing.assert_array_equal(read_image(path), colours[..., :3])
    two = saved(tmp_path / "b.png", PIL.Image.fromarray(colours).convert("LA"))
    np.testing.assert_array_equal(grey_of(two), np.asarray(PIL.Image.open(two))[..., 0])


def test_a_palette_is_looked_up_and_its_transparency_left_out(tmp_path: Path, grey: Pixels) -> None:
    image = PIL.Image.fromarray(grey).convert("P")
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    path = saved(tmp_path / "a.png", image, transparency=bytes(range(256)))
    np.testing.assert_array_equal(grey_of(path), 255 - grey)


def test_one_bit_is_black_and_white(tmp_path: Path, inside: NDArray[np.bool_]) -> None:
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(inside))
    np.testing.assert_array_equal(grey_of(path), inside * 255)


def test_the_suffix_is_not_what_a_file_is(tmp_path: Path, grey: Pixels) -> None:
    for kind in ("PNG", "BMP", "GIF", "TIFF", "PPM"):
        path = saved(tmp_path / f"{kind}.jpg", PIL.Image.fromarray(grey), kind)
        np.testing.assert_array_equal(grey_of(path), grey, err_msg=kind)
        assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (PIL.Image.new("F", (WIDTH, HEIGHT), 0.5), "F"),
        (PIL.Image.new("I", (WIDTH, HEIGHT), 70_000), "I"),
        (PIL.Image.new("LAB", (WIDTH, HEIGHT)), "LAB"),
    ],
)
def test_modes_without_an_agreed_white_are_told(tmp_path: Path, image: PIL.Image.Image, mode: str) -> None:
    path = saved(tmp_path / "a.tif", image, "TIFF")
    with pytest.raises(BadRecord, match=rf"a\.tif: a TIFF of mode {mode}: photos are read with 8 or 16 bits a channel"):
        read_image(path)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_the_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    images._said().clear()
    frames = [PIL.Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ((0, 0, 0), (255, 255, 255))]
    path = saved(tmp_path / "a.png", frames[0], kind, save_all=True, append_images=frames[1:])
    assert read_image(path).max() == 0
    assert "a.png: image has several frames, of which the first is read" in caplog.text
    assert list(remarks(examine(path))) == ["image has several frames, of which the first is read"]


def turned(path: Path, orientation: int, width: int = WIDTH, height: int = HEIGHT) -> Path:
    exif = PIL.Image.Exif()
    exif[images.ORIENTATION] = orientation
    return saved(path, PIL.Image.new("RGB", (width, height)), "JPEG", exif=exif.tobytes())


def test_an_exif_rotation_is_said_and_not_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images._said().clear()
    caplog.set_level(logging.WARNING)
    for number in range(3):
        assert read_image(turned(tmp_path / f"{number}.jpg", 3), HEIGHT, WIDTH).shape == (HEIGHT, WIDTH, 3)
    assert caplog.text.count("carries an EXIF rotation, which is not applied") == 1
    assert list(remarks(examine(turned(tmp_path / "a.jpg", 1)))) == []


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_exif_rotation_is_named_where_it_would_make_the_photo_fit(tmp_path: Path, orientation: int) -> None:
    path = turned(tmp_path / "a.jpg", orientation, HEIGHT, WIDTH)
    with pytest.raises(BadRecord) as caught:
        read_image(path, HEIGHT, WIDTH)
    assert (
        f"a.jpg is {HEIGHT} x {WIDTH}, its annotation says {WIDTH} x {HEIGHT} (width x height): its EXIF entry "
        in str(caught.value)
    )
    assert f"(orientation {orientation}) asks viewers to turn it" in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the entry
def test_a_damaged_exif_entry_is_not_a_damaged_photo(tmp_path: Path) -> None:
    path = turned(tmp_path / "a.jpg", 6)
    path.write_bytes(path.read_bytes().replace(b"MM\0*\0\0\0\x08\0\x01", b"MM\0*\xff\xff\xff\x08\0\x01", 1))
    assert read_image(path).shape == (HEIGHT, WIDTH, 3)


# Frames


@pytest.mark.parametrize(
    ("photo", "frame", "right"),
    [
        ((96, 128), (102, 128), True),
        ((102, 128), (96, 128), True),
        ((96, 128), (97, 129), True),
        ((96, 128), (96, 140), True),
        ((96, 128), (96, 150), False),  # too much
        ((96, 128), (102, 136), False),  # as a resized copy
        ((128, 96), (96, 128), False),
    ],
)
def test_a_photo_is_cut_or_filled_at_right_and_bottom_within_the_margin(
    tmp_path: Path, rng: np.random.Generator, photo: tuple[int, int], frame: tuple[int, int], right: bool
) -> None:
    pixels = rng.integers(1, 256, (*photo, 3), dtype=np.uint8)
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(pixels))
    assert fits(Facts(*photo, 1, False), *frame, margin=1 / 8) == right
    if not right:
        with pytest.raises(BadRecord, match=r"a\.png is .* its annotation says .*: (a resized copy|another shape)"):
            read_image(path, *frame, 1 / 8)
        return
    image = read_image(path, *frame, 1 / 8)
    height, width = np.minimum(photo, frame)
    np.testing.assert_array_equal(image[:height, :width], pixels[:height, :width])
    assert (image.shape[:2], image[height:].max(initial=0), image[:, width:].max(initial=0)) == (frame, 0, 0)
    with pytest.raises(BadRecord, match=r"another shape"):
        read_image(path, *frame)


# Files that are no photo


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def comment_bomb(path: Path) -> None:
    rows = (b"\0" + bytes(WIDTH)) * HEIGHT
    png(path, 8, 0, rows, (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20))))


def huge(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 8_000, 8_000) + b"\x08\0\0\0\0")
    path.write_bytes(path.read_bytes() + struct.pack(">I", zlib.crc32(path.read_bytes()[12:])) + b"\0\0\0\0IDAT")


def endless(path: Path) -> None:
    path.write_bytes(b"P5\n900000 900000\n255\n")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, "not a readable image: a PNG, cut off or damaged"),
        (text(b""), "not a readable image: an empty file (0 bytes)"),
        (text(b"\n <!DOCTYPE html><title>403"), "not a readable image: an HTML page: a download that failed"),
        (text(b"version https://git-lfs.github.com/spec/v1\noid"), "not a readable image: a git-LFS pointer"),
        (text(b"/annex/objects/MD5E-s9--a.png\n"), "not a readable image: a git-annex pointer"),
        (text(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n"), "not a readable image: PostScript (EPS)"),
        (text(b"%PDF-1.4"), "not a readable image: a PDF"),
        (text(b"SIMPLE  =                    T"), "not a readable image: FITS"),
        (text(b"\xd7\xcd\xc6\x9a\0\0"), "not a readable image: a Windows metafile"),
        (text(b"\x93NUMPY\1\0"), "not a readable image: a NumPy array"),
        (text(bytes(4096)), "not a readable image: zeros: a file whose contents were never written"),
        (text(b"\0\5\x16\7\0\2"), "not a readable image: an AppleDouble file"),
        (text(b"hello"), "not a readable image: of no kind that is known"),
        (comment_bomb, "not a readable image: a PNG, cut off or damaged (Decompressed data too large"),
        (huge, "8000 x 8000 pixels (width x height); at most 50,000,000 are read"),
        (endless, "not a readable image: its header promises more pixels than any photo has"),
        (Path.unlink, "image not found: "),
    ],
)
def test_what_is_no_image_is_told(tmp_path: Path, grey: Pixels, damage: Callable[[Path], object], told: str) -> None:
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(grey))
    damage(path)
    for read in (read_image, read_mask, examine):
        with pytest.raises(BadRecord) as caught:
            read(path)
        assert told in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_link_to_nothing_and_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("../annex/objects/MD5E-a.png")
    with pytest.raises(
        BadRecord, match=r"a\.png is a link to .*MD5E-a\.png, which is not there \(git-annex: git annex"
    ):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(BadRecord, match=r"b\.png: not a readable image: Is a directory"):
        image_size(tmp_path / "b.png")


def test_kinds_that_are_told_are_told_from_a_few_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, kind in (
        (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP, cut off or damaged"),
        (b"\0\0\0\x1cftypheic", "HEIC or AVIF"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b'\xef\xbb\xbf{"images"', "JSON text"),
        (b"<?xml version='1.0'?><Error>", "XML: perhaps a download that failed"),
    ):
        path.write_bytes(content)
        assert kind_of(path) == kind


def test_postscript_never_starts_another_program(tmp_path: Path) -> None:
    """A file called .png that is PostScript would make Pillow run Ghostscript from the path."""
    trap, path = tmp_path / "gs", tmp_path / "a.png"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    trap.chmod(0o755)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n%%EOF\n")
    code = (
        "import sys, contextlib, pathlib\n"
        "from amodal_bench.masks import images\n"
        "from amodal_bench.errors import BadRecord\n"
        "for read in (images.read_image, images.read_mask, images.examine, images.image_size):\n"
        "    with contextlib.suppress(BadRecord): read(pathlib.Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-P", "-c", code, str(path)], env=environment, check=True, timeout=60)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of entries that it passes over
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_changed_bytes_are_bad_records_or_images(
    tmp_path: Path, rng: np.random.Generator, grey: Pixels, kind: str
) -> None:
    whole = saved(tmp_path / "a", PIL.Image.fromarray(grey).convert("RGB"), kind).read_bytes()
    path = tmp_path / "b"
    for _ in range(150):
        content = bytearray(whole)
        for index in rng.integers(0, len(content), rng.integers(1, 6)):
            content[index] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(1, len(content) + 1)] if rng.random() < 0.3 else content)
        for read in (examine, read_mask):
            with contextlib.suppress(BadRecord):
                read(path)


# Masks


def palette(inside: NDArray[np.bool_]) -> PIL.Image.Image:
    image = PIL.Image.fromarray(inside.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


def cutout(inside: NDArray[np.bool_]) -> PIL.Image.Image:
    """White on nothing."""
    return PIL.Image.fromarray(np.dstack([inside.astype(np.uint8) * 255] * 4))


SPELLINGS: dict[str, Callable[[NDArray[np.bool_]], PIL.Image.Image]] = {
    "0 and 255": lambda mask: PIL.Image.fromarray(mask.astype(np.uint8) * 255),
    "0 and 1": lambda mask: PIL.Image.fromarray(mask.astype(np.uint8)),
    "0 and 7": lambda mask: PIL.Image.fromarray(mask.astype(np.uint8) * 7),
    "one bit": lambda mask: PIL.Image.fromarray(mask),
    "16 bits": lambda mask: PIL.Image.fromarray(mask.astype(np.uint16) * 65535),
    "16 bits, 0 and 1": lambda mask: PIL.Image.fromarray(mask.astype(np.uint16)),
    "16 bits, 0 and 300": lambda mask: PIL.Image.fromarray(mask.astype(np.uint16) * 300),
    "palette": palette,
    "colour": lambda mask: PIL.Image.fromarray(np.dstack([mask * 128, mask * 0, mask * 64]).astype(np.uint8)),
    "grey and opaque": lambda mask: PIL.Image.fromarray(mask.astype(np.uint8) * 255).convert("LA"),
    "white on nothing": cutout,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_masks_of_two_values_are_masks(tmp_path: Path, inside: NDArray[np.bool_], spelling: str) -> None:
    path = saved(tmp_path / "a.png", SPELLINGS[spelling](inside))
    np.testing.assert_array_equal(read_mask(path), inside)
    nothing = saved(tmp_path / "b.png", SPELLINGS[spelling](inside & False))
    assert not read_mask(nothing).any()


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF", "WEBP", "PPM"])
def test_masks_of_any_lossless_format_are_masks(tmp_path: Path, inside: NDArray[np.bool_], kind: str) -> None:
    path = saved(tmp_path / "a", PIL.Image.fromarray(inside.astype(np.uint8) * 255), kind, lossless=True)
    np.testing.assert_array_equal(read_mask(path), inside)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_masks_of_32_bits_are_masks(tmp_path: Path, inside: NDArray[np.bool_], dtype: type) -> None:
    path = saved(tmp_path / "a.tif", PIL.Image.fromarray(inside.astype(dtype)), "TIFF")
    np.testing.assert_array_equal(read_mask(path), inside)


def test_a_mask_in_colour_takes_a_few_bytes_a_pixel(tmp_path: Path) -> None:
    pixels = np.zeros((1000, 1000, 3), dtype=np.uint8)
    pixels[200:700, 300:600] = (128, 0, 64)
    PIL.Image.fromarray(pixels).save(tmp_path / "m.png")
    tracemalloc.start()
    mask = read_mask(tmp_path / "m.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.sum() == 150_000
    assert peak < 14 * mask.size


@pytest.mark.parametrize("value", [1, 255])
def test_the_whole_frame_may_be_inside(tmp_path: Path, value: int) -> None:
    assert read_mask(saved(tmp_path / "a.png", PIL.Image.new("L", (WIDTH, HEIGHT), value))).all()


def ids(mask: NDArray[np.bool_]) -> PIL.Image.Image:
    labels = mask.astype(np.uint8) * 3
    labels[0, 0] = 9
    return PIL.Image.fromarray(labels)


def alpha_only(mask: NDArray[np.bool_]) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.dstack([np.full((*mask.shape, 3), 90), mask * 255]).astype(np.uint8))


def alpha_else(mask: NDArray[np.bool_]) -> PIL.Image.Image:
    white = mask.astype(np.uint8) * 255
    return PIL.Image.fromarray(np.dstack([white, white, white, 255 - white]))


def black_palette(mask: NDArray[np.bool_]) -> PIL.Image.Image:
    image = PIL.Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([0] * 768)
    return image


@pytest.mark.parametrize(
    ("spelling", "told"),
    [
        (ids, r"a PNG of mode L has 3 values \(0, 3, 9\): a map of ids"),
        (
            lambda mask: PIL.Image.fromarray(mask.astype(np.uint16) * 1000 + 200),
            r"mode I;16 has the values 200, 1200, n",
        ),
        (
            lambda mask: PIL.Image.fromarray(mask * np.uint8(0) + 200),
            r"in which every pixel is 200: the whole frame, or",
        ),
        (
            lambda mask: PIL.Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)),
            r"48 values \(0, .*, \.\.\. 47\)",
        ),
        (alpha_only, r"a PNG of mode RGBA in which every pixel is 90: the whole frame, or an id\?"),
        (alpha_else, r"a PNG of mode RGBA whose alpha channel varies and whose colours do not say the same"),
        (black_palette, r"mode P whose palette shows different values in one colour"),
    ],
)
def test_what_is_no_mask_is_told_with_mode_and_values(
    tmp_path: Path, inside: NDArray[np.bool_], spelling: Callable[[NDArray[np.bool_]], PIL.Image.Image], told: str
) -> None:
    path = saved(tmp_path / "a.png", spelling(inside))
    with pytest.raises(BadRecord, match=rf"a\.png: .*{told}"):
        read_mask(path)


def test_a_mask_in_alpha_over_black_is_not_an_empty_one(tmp_path: Path, inside: NDArray[np.bool_]) -> None:
    black = np.dstack([np.zeros((*inside.shape, 3)), inside * 255]).astype(np.uint8)
    with pytest.raises(BadRecord, match="alpha channel varies"):
        read_mask(saved(tmp_path / "a.png", PIL.Image.fromarray(black)))


def test_jpeg_masks_frames_and_deep_colours_are_told(tmp_path: Path, inside: NDArray[np.bool_]) -> None:
    white = PIL.Image.fromarray(inside.astype(np.uint8) * 255)
    with pytest.raises(BadRecord, match=r"a\.png: a JPEG of mode L has \d+ values .*grey levels of a JPEG"):
        read_mask(saved(tmp_path / "a.png", white, "JPEG", quality=60))
    with pytest.raises(BadRecord, match=r"b\.png: a PNG of mode L of several frames, where a mask has one"):
        read_mask(
            saved(tmp_path / "b.png", white, save_all=True, append_images=[PIL.Image.fromarray(inside).convert("L")])
        )
    with pytest.raises(BadRecord, match=r"c\.png: a PNG of mode RGB with 16 bits a colour"):
        read_mask(png(tmp_path / "c.png", 16, 2, (b"\0" + bytes(6 * WIDTH)) * HEIGHT))
    with pytest.raises(BadRecord, match=r"d\.jpg: a JPEG of mode CMYK, in which a mask can not be told"):
        read_mask(saved(tmp_path / "d.jpg", white.convert("CMYK"), "JPEG"))


def test_a_threshold_reads_grey_from_black_to_white_and_no_ids(tmp_path: Path) -> None:
    ramp = np.arange(48, dtype=np.uint8).reshape(6, 8)
    grey = saved(tmp_path / "a.png", PIL.Image.fromarray(ramp * 5 + (ramp == 47) * np.uint8(20)))
    assert read_mask(grey, threshold=127).sum() == 48 - 26
    with pytest.raises(BadRecord, match="48 values"):
        read_mask(saved(tmp_path / "b.png", PIL.Image.fromarray(ramp)), threshold=127)
