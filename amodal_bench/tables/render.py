"""A table as CSV (every digit), Markdown and LaTeX (rounded); the same runs give the same bytes."""

import html
import math
import re
from itertools import groupby

from amodal_bench.tables.sheet import Cell, Heading, Sheet
from amodal_bench.text import numbers
from amodal_bench.text.csv_text import csv_text
from amodal_bench.text.printable import printable

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*~\[\]|]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z]))")


def escape_tex(text: str) -> str:
    """Text that LaTeX prints as it is, whatever it holds."""
    return "".join(_TEX.get(character, character) for character in printable(" ".join(text.split())))


def escape_markdown(text: str) -> str:
    """Text that a table cell of GitHub's Markdown shows as it is, HTML included."""
    return _MARKDOWN.sub(r"\\\1", html.escape(printable(" ".join(text.split())), quote=False))


def to_csv(sheet: Sheet) -> str:
    """One line a value, with protocol, interval, n and runs; numbers with six decimals, empty where there is none."""
    names = list(sheet.records[0]) if sheet.records else ["table"]
    return csv_text(names, ([_number(record[name]) for name in names] for record in sheet.records))


def to_markdown(sheet: Sheet) -> str:
    """A pipe table with its notes."""
    heads = [*sheet.labels, *(f"{c.group} {c.name}".strip() + _arrow(c) for c in sheet.columns)]
    lines = [
        f"# {escape_markdown(sheet.title)}",
        "",
        _line([escape_markdown(head) for head in heads]),
        _line(["---"] * len(sheet.labels) + ["---:"] * len(sheet.columns)),
    ]
    for labels, cells in sheet.rows:
        lines.append(_line([*map(escape_markdown, labels), *(_markdown_cell(c, sheet.digits) for c in cells)]))
    lines += ["", *(f"- {escape_markdown(note)}" for note in sheet.notes)]
    return "\n".join(lines).rstrip() + "\n"


def to_tex(sheet: Sheet) -> str:
    """A booktabs table with its notes; needs `\\usepackage{booktabs}` and nothing else."""
    columns = "l" * len(sheet.labels) + "r" * len(sheet.columns)
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{escape_tex(sheet.title)}}}",
        rf"\label{{tab:{_label(sheet.name)}}}", rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule", *_tex_heads(sheet), r"\midrule",
    ]  # fmt: skip
    before = None
    for labels, cells in sheet.rows:
        if before is not None and labels[1:] != before:
            lines.append(r"\midrule")
        before = labels[1:]
        lines.append(" & ".join([*map(escape_tex, labels), *(_tex_cell(c, sheet.digits) for c in cells)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\noindent{{\footnotesize {escape_tex(note)}\par}}" for note in sheet.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


FORMATS = {"csv": to_csv, "md": to_markdown, "tex": to_tex}


def number(cell: Cell, digits: int) -> tuple[str, str]:
    """(value, what follows it): `81.2`, `[80.1, 82.3]` or `± 0.3`; two empty texts where there is no value."""
    if math.isnan(cell.value):
        return "", ""
    decimals = digits if cell.digits is None else cell.digits
    after = ""
    if not math.isnan(cell.spread):
        after = f"± {cell.spread:.{decimals}f}"
    elif not math.isnan(cell.low):
        after = numbers.interval(cell.low, cell.high, decimals)
    return numbers.number(cell.value, decimals), after


def _markdown_cell(cell: Cell, digits: int) -> str:
    value, after = number(cell, digits)
    if not value:
        return ""
    sign = {"best": "**", "second": "*", "": ""}[cell.rank]
    mark = f" <sup>{cell.mark}</sup>" if cell.mark else ""
    flag = f" ({escape_markdown(cell.flag)})" if cell.flag else ""
    return f"{sign}{value}{sign}{mark}{' ' + after if after else ''}{flag}"


def _tex_cell(cell: Cell, digits: int) -> str:
    value, after = number(cell, digits)
    if not value:
        return "--"
    text = {"best": rf"\textbf{{{value}}}", "second": rf"\textit{{{value}}}", "": value}[cell.rank]
    text += rf"$^{{\mathrm{{{cell.mark}}}}}$" if cell.mark else ""
    rest = " ".join(filter(None, [after, f"({cell.flag})" if cell.flag else ""]))
    return text + (rf" {{\scriptsize {escape_tex(rest)}}}" if rest else "")


def _tex_heads(sheet: Sheet) -> list[str]:
    groups = [(group, len(list(same))) for group, same in groupby(sheet.columns, key=lambda c: c.group)]
    column, rules, first = len(sheet.labels) + 1, [], [""] * len(sheet.labels)
    for group, width in groups:
        first.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_tex(group)}}}")
        rules.append(rf"\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    second = [*map(escape_tex, sheet.labels), *(_tex_name(column) for column in sheet.columns)]
    return [" & ".join(first) + r" \\", *([" ".join(rules)] if rules else []), " & ".join(second) + r" \\"]


def _tex_name(column: Heading) -> str:
    return escape_tex(column.name + _arrow(column))


def _arrow(column: Heading) -> str:
    return " ↑" if column.higher_is_better else " ↓"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: str | int | float | None) -> str | int | None:
    if isinstance(value, float):
        return None if math.isnan(value) else f"{value:.6f}"
    return value


def _label(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z-]+", "-", name)
