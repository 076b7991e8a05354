"""From the file name in an annotation to a file on this disk, never outside the image folders."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from amodal_bench.errors import BadRecord


def find_image(folders: Sequence[Path], name: str, where: str) -> Path:
    """The first of `folders` that holds `name` (folder/name or folder/its last part); raises `BadRecord`."""
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or not plain.name or ":" in plain.parts[0]:
        raise BadRecord(f"{where}: file_name {name!r} leads out of the image folder")
    for folder in folders:
        for path in (folder / plain, folder / plain.name):
            if path.is_file():
                return _inside(path, folder, where)
    raise BadRecord(f"{where}: image {name} not found in {', '.join(map(str, folders))}")


def _inside(path: Path, folder: Path, where: str) -> Path:
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise BadRecord(
            f"{where}: {path} is a link to {real}, out of the image folder {folder}. Where that is meant, "
            "name the folder that holds the image with --image-root, or copy it."
        )
    return path
