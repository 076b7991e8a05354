"""Small texts that others wrote: what is too large, too deep or a bomb is refused at once, and by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from amodal_bench.errors import Refused
from amodal_bench.files.documents import BadDocument, parse_json, parse_yaml, read_yaml
from amodal_bench.files.machine import read_paths
from amodal_bench.metrics.protocol import read_protocol
from amodal_bench.resolve.presets import parse_changes, read_preset
from amodal_bench.resolve.training import read_train_file
from amodal_bench.tables.spec import read_spec

LAUGHS = "\n".join(["l0: &l0 [ha]"] + [f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 10)}]" for k in range(1, 10)])
BOMBS = {
    "aliases": (LAUGHS, r"it has an alias \(\*l0\): write the value out"),
    "itself": ("a: &a [*a]", r"it has an alias \(\*a\)"),
    "merge": ("a: &a {x: 1}\nb: {<<: *a}", r"it has an alias"),
    "flow": ("a: " + "[" * 5000, "it is nested more than 50 deep"),
    "block": ("\n".join(" " * k + "- x:" for k in range(0, 200, 2)), "it is nested more than 50 deep"),
    "huge": ("a: 1\n" * 60_000, "it is larger than 256 KiB, which none of ours is"),
    "number": ("a: " + "9" * 5000, "it is not YAML"),
    "object": ("a: !!python/object/apply:os.system [true]", "it is not YAML: could not determine a constructor"),
    "two": ("a: 1\n---\nb: 2", "it is not YAML: expected a single document"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_is_built(kind: str, tmp_path: Path) -> None:
    text, told = BOMBS[kind]
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(Refused, match=rf"own\.yaml: not a preset: {told}"):
        read_yaml(path, "a preset")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes("a: größe".encode("latin-1"))
    with pytest.raises(Refused, match=r"own\.yaml: not a preset: it is not UTF-8 \(byte 5\)"):
        read_yaml(tmp_path / "own.yaml", "a preset")


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (read_preset, "a preset"),
        (read_protocol, "a protocol"),
        (read_spec, "a table"),
        (read_paths, "a list of paths"),
        (read_train_file, "a training file"),
    ],
)
def test_every_reader_takes_the_bounded_way(read: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(LAUGHS)
    with pytest.raises(Refused, match=rf"own\.yaml: not {what}: it has an alias"):
        read(path)


def test_a_value_on_the_command_line_takes_the_bounded_way() -> None:
    with pytest.raises(Refused, match=r"--set a=\[&x 1, \*x\]: the value has an alias \(\*x\)"):
        parse_changes(["a=[&x 1, *x]"])
    with pytest.raises(Refused, match=r"--set a=\[+\.\.\.: the value is nested more than 50 deep"):
        parse_changes(["a=" + "[" * 200])
    with pytest.raises(Refused, match=r"--set a\.b=2: a was given a value of its own before"):
        parse_changes(["a=1", "a.b=2"])


def test_what_is_plain_is_read() -> None:
    assert parse_yaml("a: &anchor [1, 2.5, yes]\nb: '[x]'") == {"a": [1, 2.5, True], "b": "[x]"}
    assert parse_json(b'{"a": [1, "\\u00e4", null]}') == {"a": [1, "ä", None]}
    with pytest.raises(BadDocument, match="is not JSON"):
        parse_json(b"{")
