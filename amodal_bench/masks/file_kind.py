"""What a file is that is not what it should be, told by its first bytes."""

from pathlib import Path

HEAD = 512  # bytes that are looked at

IMAGES = (
    (b"\x89PNG", "a PNG"),
    (b"\xff\xd8\xff", "a JPEG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
)
OTHERS = (
    (b"%!PS", "PostScript (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (b"%PDF", "a PDF"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"SIMPLE  =", "FITS"),
    (b"8BPS", "a Photoshop document"),
    (b"v/1\x01", "OpenEXR"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "HDF5"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"\0\x05\x16\x07", "an AppleDouble file (macOS's `._` beside the real one)"),
    (b"version https://git-lfs", "a git-LFS pointer, not the file itself: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself: git annex get"),
)
STILLS = (b"heic", b"heix", b"hevc", b"mif1", b"avif", b"avis")  # brands of the container that videos have too
TEXTS = (
    (b"<!doctype html", "an HTML page: a download that failed"),
    (b"<html", "an HTML page: a download that failed"),
    (b"<?xml", "XML: perhaps a download that failed"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
)


def kind_of(path: Path) -> str:
    """In words; raises `OSError` where the file cannot be read."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "an empty file (0 bytes)"
    for start, kind in IMAGES:
        if head.startswith(start):
            return f"{kind}, cut off or damaged"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP, cut off or damaged"
    if head[4:8] == b"ftyp":
        return "HEIC or AVIF" if head[8:12] in STILLS else "a video"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = [kind for start, kind in OTHERS if head.startswith(start)]
    known += [kind for start, kind in TEXTS if text.startswith(start)]
    if not known and not head.strip(b"\0"):
        return "zeros: a file whose contents were never written"
    return known[0] if known else "of no kind that is known"


def unlike(path: Path, kind: str) -> str:
    """`: ` and what a file is, for an error's text; empty where it is of that `kind` or cannot be read."""
    try:
        found = kind_of(path)
    except OSError:
        return ""
    return "" if found == kind else f": {found}"


def not_there(path: Path) -> str:
    """Why a path leads to no file: whether nothing has that name, or a link leads nowhere."""
    if path.is_symlink():
        return f"not found: {path} is a link to {path.readlink()}, which is not there (git-annex: git annex get)"
    return f"not found: {path}"
