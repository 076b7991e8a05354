"""`doctor`: is this machine, and is this dataset, what it should be?"""

import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.catalogue import list_ as catalogue
from amodal_bench.cli.catalogue import missing_modules
from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console
from amodal_bench.errors import Refused
from amodal_bench.files.cache import cache_folder
from amodal_bench.formats.doctor import Finding, inspect_dataset, summary_of, write_faults
from amodal_bench.resolve import provenance
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags, weights_root
from amodal_bench.resolve.presets import parse_changes
from amodal_bench.resolve.registry import Registry

console = make_console()
_MARK = {"ok": ("✓", "green"), "note": ("○", "yellow"), "fault": ("✗", "red")}


def doctor(
    dataset: Annotated[str | None, typer.Argument(help="A dataset to look at; none: the machine.")] = None,
    split: o.Split = None,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    set_: o.Set = None,
    plugin: o.Plugins = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Where to list single faults.")] = None,
) -> None:
    """Check the environment, or a dataset's files, counts and fingerprint."""
    registry = Registry(o.none_if_empty(plugin))
    if dataset is None:
        _environment(registry)
        catalogue(plugin, data_root)
        return
    _, options = parse_changes(set_ or [])
    flags = DataFlags(data_root=data_root, root=root, image_root=image_root)
    opened, location, _ = open_dataset(dataset, registry, split, options, flags)
    card = opened.card
    console.print(plain((card.title, "bold"), f"  {dataset}/{opened.split}"))
    if not card.embedded:
        console.print(
            f"expected under {location.root}:",
            *(f"  {line}" for line in card.tree.split("\n")),
            sep="\n",
            soft_wrap=True,
        )
    findings = inspect_dataset(opened)
    _print(findings)
    faults = list(opened.faults())
    _print(summary_of(faults))
    if faults:
        path = table or Path(f"doctor-{dataset}-{opened.split}.csv")
        write_faults(faults, path)
        console.print(f"{len(faults):,} lines with ids: {path}", soft_wrap=True)
    if any(finding.state == "fault" for finding in findings):
        raise Refused(f"{dataset} is not what its card says; see the lines marked ✗")


def _environment(registry: Registry) -> None:
    found = provenance.versions()
    ok = [
        Finding(
            "ok",
            f"python {platform.python_version()}, amodal-bench {found.get('amodal-bench', '(not installed)')}",
        )
    ]
    for name in registry.names("methods"):
        try:
            card = registry.method(name).cls.card
        except Refused as error:
            ok.append(Finding("fault", str(error)))
            continue
        missing = missing_modules(card)
        if missing:
            ok.append(
                Finding(
                    "note",
                    f"{name}: {', '.join(missing)} not installed: pip install 'amodal-bench[{card.extra}]'",
                )
            )
    if find_spec("torch") is None:
        ok.append(Finding("note", "torch is not installed: trained methods need pip install 'amodal-bench[all]'"))
    else:
        ok.append(Finding("ok", f"torch {found.get('torch')}, device {provenance.choose_device('auto', ('torch',))}"))
    ok.append(Finding("ok", f"{os.cpu_count()} cores; cache {cache_folder()}; weights {weights_root(None)}"))
    _print(ok)


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        console.print(plain(_MARK[finding.state], f" {finding.text}"), soft_wrap=True)
