"""JSON and YAML that others wrote: bounded in size, depth and repetition before anything is made of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from amodal_bench.errors import Refused

MOST_JSON = 16 * 2**20  # bytes of a record or a header; ours are far below 1 MiB
MOST_YAML = 256 * 2**10  # bytes of a preset, a protocol, a table; it is read by Python, a few seconds for that much
MOST_DEPTH = 50


class BadDocument(ValueError):
    """A text that is not the document it should be; the message goes on after the file's name."""


def parse_json(data: bytes) -> Any:
    """The value of a small JSON text; raises `BadDocument`."""
    try:
        value = json.loads(_text(_bounded(data, MOST_JSON)))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise error if isinstance(error, BadDocument) else BadDocument("is not JSON") from None
    for part in _parts(value):
        if isinstance(part, str) and not _is_unicode(part):
            raise BadDocument(f"holds text that is no Unicode ({part!a})")
    return value


def parse_yaml(text: str) -> Any:
    """The value of a small YAML text; raises `BadDocument`. No aliases: nine lines of them can stand for gigabytes."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise BadDocument(f"has an alias (*{event.anchor}): write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise _too_deep()
        return yaml.load(text, Loader=yaml.SafeLoader)
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, ValueError) as error:
        raise error if isinstance(error, BadDocument) else BadDocument(f"is not YAML: {error}") from None


def read_yaml(path: Path, what: str) -> Any:
    """The value of a small YAML file; raises `Refused` naming it and `what` it should be (`a preset`)."""
    try:
        return parse_yaml(_text(read_small(path, MOST_YAML)))
    except BadDocument as error:
        raise Refused(f"{path}: not {what}: it {error}") from None
    except OSError as error:
        raise Refused(f"{path}: it cannot be read ({error.strerror})") from None


def read_small(path: Path, most: int = MOST_JSON) -> bytes:
    """The bytes of a file; raises `BadDocument` where there are more than `most`, which are not read."""
    with path.open("rb") as file:
        return _bounded(file.read(most + 1), most)


def _bounded(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise BadDocument(f"is larger than {most >> 10:,} KiB, which none of ours is")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadDocument(f"is not UTF-8 (byte {error.start})") from None


def _parts(value: Any) -> Iterator[Any]:
    """A value, all keys and all values inside; raises `BadDocument` where it is nested too deep."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        yield from level
        level = [part for whole in level for part in _children(whole)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_deep() -> BadDocument:
    return BadDocument(f"is nested more than {MOST_DEPTH} deep")
