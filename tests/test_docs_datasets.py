"""The page on datasets: a table for each, and the words of the funnel as the code has them."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from amodal_bench.masks.framing import Facts
from amodal_bench.masks.images import remarks
from amodal_bench.resolve.registry import Registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "datasets.md").read_text()
ROWS = [
    "official names", "names also accepted", "instance and id", "left out", "noted", "doctor also", "options",
]  # fmt: skip
DATASETS = Registry().names("datasets")
READERS = (path for name in ("datasets", "amodal_bench/formats") for path in (ROOT / name).rglob("*.py"))
ADAPTERS = sorted(path for path in READERS if "writer" not in str(path.relative_to(ROOT)))
# Calls that take a reason or a note, and at which place.
TAKERS = {"drop": 0, "note": 0, "Fault": 1, "unreadable": 3, "masks_of": 2, "masks": 0, "once": 1, "_dropped": 4}


def section(name: str) -> str:
    """What stands under the one heading of a dataset."""
    found = re.findall(rf"^(##+) [^\n]*`{name}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, name
    text: str = found[0][1]
    return text


def spelled(node: ast.expr | None) -> Iterator[str]:
    """The texts that an expression may have; … stands for what an f-string fills in."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.IfExp(body=first, orelse=second):
            yield from (*spelled(first), *spelled(second))


def stated(node: ast.AST) -> Iterator[str]:
    """The reasons and notes that a piece of code names."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=given, keywords=named):
            index = TAKERS.get(name, len(given))
            for value in (*given[index : index + 1], *(k.value for k in named if k.arg in ("dropped", "lacking"))):
                yield from spelled(value)
        case ast.Assign(targets=[ast.Name(id="dropped")], value=value):
            yield from spelled(value)
        case ast.Yield(value=ast.Tuple(elts=[first, *_])):
            yield from spelled(first)
        case ast.Dict(keys=keys):  # tables of reasons; keys of one word are something else
            yield from (text for key in keys for text in spelled(key) if " " in text)


def constants(path: Path, tree: ast.Module) -> Iterator[str]:
    """Texts of several words that a module gives a name in capitals: reasons, but for whole sentences."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "amodal_bench" else ("amodal_bench", *parts)
    module = importlib.import_module(".".join(inside).removesuffix(".__init__"))
    names = {node.id for top in tree.body if isinstance(top, ast.Assign) for node in ast.walk(top)
             if isinstance(node, ast.Name) and node.id.isupper()}  # fmt: skip
    values = (getattr(module, name, None) for name in names)
    yield from (value for value in values if isinstance(value, str) and " " in value and value[0].islower())


@cache
def words_of_the_code() -> set[str]:
    """All that the adapters, and what reads photos, may count or list."""
    found = set(remarks(Facts(1, 1, orientation=6, several=True)))
    for path in ADAPTERS:
        tree = ast.parse(path.read_text())
        found |= {text for node in ast.walk(tree) for text in stated(node)} | set(constants(path, tree))
    return found


def words_of_the_page() -> set[str]:
    """What stands in code type where the page tells of what is left out, noted or checked; not names of one word."""
    told = re.findall(r"^\| (?:left out|noted|doctor also) \|(.*)\|$", PAGE, re.MULTILINE)
    told += re.findall(r"^\|.*(?:left out|noted|one stays): (.*)\|$", PAGE, re.MULTILINE)
    told += re.findall(r"^\| `\w+` \|.*\| (`[^`|]*`) \|$", PAGE, re.MULTILINE)  # the table of the shared options
    return {text for cell in told for text in re.findall(r"`([^`]+)`", cell) if " " in text}


@pytest.mark.parametrize("name", DATASETS)
def test_each_dataset_has_its_table(name: str) -> None:
    assert re.findall(r"^\| (\w[\w ]*?) \|", section(name), re.MULTILINE)[: len(ROWS)] == ROWS
    assert f"[`{name}`](#" in PAGE


def test_every_reason_of_the_code_stands_on_the_page_as_it_is() -> None:
    assert {text for text in words_of_the_code() if f"`{text}`" not in PAGE} == set()


def test_every_reason_of_the_page_stands_in_the_code() -> None:
    assert words_of_the_page() - words_of_the_code() == set()


@pytest.mark.parametrize("name", DATASETS)
def test_every_option_of_a_dataset_stands_in_its_table(name: str) -> None:
    (row,) = re.findall(r"^\| options \|(.*)\|$", section(name), re.MULTILINE)
    shared = PAGE[PAGE.index("## Options") : PAGE.index("## What `doctor`")] if "(#options)" in row else ""
    options = Registry().dataset(name).cls.Options.model_fields
    assert {key for key in options if f"`{key}`" not in row + shared} == set()
    told = re.findall(r"`(\w+)`", row)
    assert {key for key in told if key not in options} == set()


def test_links_within_the_page_lead_to_headings() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", PAGE) if link not in anchors} == set()
