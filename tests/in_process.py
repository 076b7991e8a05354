"""A command in the test's own process: what starting one would give it, and no trace of it afterwards."""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from amodal_bench.cli import main
from amodal_bench.files import configs


def ended(arguments: Sequence[str], here: Path, environment: Mapping[str, str], lacking: Sequence[str] = ()) -> int:
    """Exit code of the entry point in this folder, with these variables, a PYTHONPATH too, and without the lacking."""
    with pytest.MonkeyPatch.context() as patch, _as_started(patch, environment.get("PYTHONPATH", "")):
        for name in lacking:
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(here)
        patch.setattr(sys, "argv", ["amodal-bench", *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0


@contextmanager
def _as_started(patch: pytest.MonkeyPatch, added: str) -> Iterator[None]:
    """Streams, logs, warnings, plugins and distributions as a process of its own would have them."""
    for name in ("stdout", "stderr", "excepthook"):
        patch.setattr(sys, name, getattr(sys, name))
    patch.setattr(logging.root, "handlers", [])
    level, modules = logging.root.level, set(sys.modules)
    folders = tuple(filter(None, added.split(os.pathsep)))
    patch.setattr(sys, "path", [*folders, *sys.path])
    _look_anew()
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        logging.root.setLevel(level)
        logging.captureWarnings(False)
        for name in set(sys.modules) - modules:
            if folders and str(getattr(sys.modules[name], "__file__", None)).startswith(folders):
                del sys.modules[name]
        _look_anew()


def _look_anew() -> None:
    """For installed distributions."""
    importlib.invalidate_caches()
    configs._entries.cache_clear()
