"""`tables` and `table`: the papers' tables with what was measured, and any other."""

from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.bench import chosen_protocols
from amodal_bench.cli.console import PlainConsole
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import tell_left_out
from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.names import own_folder
from amodal_bench.resolve.locate import results_root
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.select import RunQuery, Selection, nothing_left, results_runs
from amodal_bench.tables.measured import TableRequest, build, no_runs
from amodal_bench.tables.names import check_names, known_names
from amodal_bench.tables.paper import PaperTable
from amodal_bench.tables.render import FORMATS
from amodal_bench.tables.sheet import Sheet
from amodal_bench.tables.spec import TableSpec, find_table, table_file

console = make_console()
Timings = Annotated[bool, typer.Option("--timings", help="Columns of seconds an instance and peak memory.")]


def tables(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which (default: all).")] = None,
    results: o.Results = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write [default: RESULTS/tables].")] = None,
    timings: Timings = False,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Show runs on files that are not the published ones too, marked so.")
    ] = False,
) -> None:
    """Write every table of the papers, published and measured side by side, as CSV, Markdown and LaTeX."""
    folder = results_root(results)
    found = results_runs(folder)
    specs = [_checked(name, found) for name in names] if names else _all_tables(found)
    target = out or own_folder(folder, "tables")
    if not found.runs and found.left_out:
        raise nothing_left(f"none of the runs in {folder} can be read", found.left_out)
    if not found.runs:
        console.print(f"{no_runs(folder)}. Until then the measured side is empty.", style="yellow", soft_wrap=True)
    for spec in specs:
        sheet = PaperTable(spec, found, timings, other_data).sheet()
        write_sheet(sheet, target)
        measured = sum(record["measured"] is not None for record in sheet.records)
        console.print(
            f"{spec.name}: {measured} of {len(sheet.records)} cells measured: {target / spec.name}.{{csv,md,tex}}",
            soft_wrap=True,
        )
        for note in sheet.problems:
            console.print(f"  {note}", style="yellow", soft_wrap=True)
    tell_left_out(console, found.left_out)


def _checked(name: str, found: Selection) -> TableSpec:
    """The table of a name or file; raises `Refused` where it names what there is not."""
    spec = find_table(name)
    runs = [(run.name, run.data.dataset, run.data.split) for run in found.runs]
    check_names(spec, known_names(spec, Registry(), runs), table_file(name))
    return spec


def _all_tables(found: Selection) -> list[TableSpec]:
    """Those that something can be re-made of; a line for each that cannot be read, which stops no other."""
    specs = []
    for name in configs.names("tables"):
        try:
            specs.append(_checked(name, found))
        except Refused as error:
            console.print(f"left out: {error}", style="yellow", soft_wrap=True)
    return [spec for spec in specs if spec.preset_rows]


def table(
    method: Annotated[
        str | None, typer.Option("--method", "-m", metavar="M[,M]", help="Names of runs [default: all].")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", metavar="D[,D]", help="Datasets [default: all].")
    ] = None,
    metrics: o.Metrics = None,
    protocol: o.ProtocolName = None,
    buckets: Annotated[
        str | None, typer.Option(help="Occlusion buckets too: 'protocol' for its own, edges, or intervals.")
    ] = None,
    results: o.Results = None,
    format_: Annotated[str, typer.Option("--format", help="csv, md or tex.")] = "md",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write [default: print].")] = None,
    digits: Annotated[int, typer.Option(min=0, max=4, help="After the point, in md and tex.")] = 1,
    floor: Annotated[bool, typer.Option(help="The visible mask's score as a last row.")] = True,
    title: Annotated[str, typer.Option(help="Above the table.")] = "Measured",
    spec: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A table as its YAML says, published beside measured.")
    ] = None,
    timings: Timings = False,
) -> None:
    """Any table of what was run, from the counts alone."""
    if format_ not in FORMATS:
        raise UnknownName("format", format_, FORMATS)
    folder = results_root(results)
    found = results_runs(folder)
    if spec:
        if method or dataset or protocol or buckets:
            raise Refused(
                f"the file of the table {spec} says which rows, columns and protocols: leave out --method, "
                "--dataset, --protocol and --buckets, or --spec"
            )
        _tell(FORMATS[format_](PaperTable(_checked(spec, found), found, timings).sheet()), found, out)
        return
    of_protocol = buckets == "protocol"
    request = TableRequest(
        protocols=chosen_protocols(protocol, None if of_protocol else buckets),
        query=RunQuery(
            methods=o.split_list(method, "method") if method else None,
            datasets=o.split_list(dataset, "dataset") if dataset else None,
        ),
        metrics=o.chosen_metrics(metrics),
        buckets=bool(buckets),
        floor=floor,
        timings=timings,
        digits=digits,
        name=out.stem if out else "table",
        title=title,
    )
    if not found.runs:
        raise nothing_left(no_runs(folder), found.left_out)
    _tell(FORMATS[format_](build(found, request)), found, out)


def _tell(text: str, found: Selection, out: Path | None) -> None:
    """A table on standard output, which holds nothing else, or in a file."""
    tell_left_out(PlainConsole(stderr=True), found.left_out)
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)
        console.print(str(out), soft_wrap=True)


def write_sheet(sheet: Sheet, folder: Path) -> None:
    """NAME.csv, NAME.md and NAME.tex."""
    for suffix, render in FORMATS.items():
        _write(folder / f"{sheet.name}.{suffix}", render(sheet))


def _write(path: Path, text: str) -> None:
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.absolute(), text.encode())
