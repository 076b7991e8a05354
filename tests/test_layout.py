"""How the parts may depend on one another, and the rules that every file keeps; read from the files themselves."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "torchvision", "diffusers", "timm", "transformers", "accelerate", "safetensors", "segment_anything",
         "cv2", "av", "huggingface_hub"}  # fmt: skip
LINKS = ("configs", "datasets", "methods")
MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|home/[a-z]\w*)/|\b(?:pypi|pythonhosted|anaconda|npmjs)\.(?:org|com)\b|--(?:extra-)?index-url"
)

Cli = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Source:
    """A Python file: where it lies, its module's name, its tree."""

    path: Path
    module: str
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        """The path from the root."""
        return str(self.path.relative_to(ROOT))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Files under a folder; those behind the links of amodal_bench/ belong to the folder that the link names."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        inside = path.relative_to(ROOT)
        if inside.parts[:2] in [("amodal_bench", link) for link in LINKS]:
            continue
        parts = inside.with_suffix("").parts
        text = path.read_text()
        found.append(Source(path, ".".join(parts), ast.parse(text), len(text.splitlines())))
    return tuple(found)


def core() -> tuple[Source, ...]:
    return sources("amodal_bench")


def plugins() -> tuple[Source, ...]:
    return sources("methods") + sources("datasets")


def package(source: Source) -> list[str]:
    """The package that relative imports start from, with plugins below amodal_bench."""
    parts = source.module.split(".")
    parts = parts if parts[0] == "amodal_bench" else ["amodal_bench", *parts]
    return parts[:-1]


def imported(source: Source, node: ast.AST) -> Iterator[str]:
    """Absolute dotted names that an import statement names, with what `from x import y` takes from x."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package(source)[: len(package(source)) - node.level + 1] if node.level else []
        yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


def module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs when the file is imported: no bodies of functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from module_level(child)


def imports(source: Source, everywhere: bool) -> set[str]:
    nodes = ast.walk(source.tree) if everywhere else module_level(source.tree)
    return {name for node in nodes for name in imported(source, node)}


def below(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def test_the_core_knows_no_plugin() -> None:
    plugins = ("amodal_bench.methods", "amodal_bench.datasets")
    faults = [(s.name, n) for s in core() for n in imports(s, everywhere=True) for p in plugins if below(n, p)]
    assert faults == []


def test_the_core_imports_nothing_heavy_but_in_functions_of_provenance_and_processes() -> None:
    faults = [(s.name, n) for s in core() for n in imports(s, everywhere=True) if n.split(".")[0] in HEAVY]
    assert set(faults) == {
        ("amodal_bench/resolve/provenance.py", "torch"),
        ("amodal_bench/running/ranks.py", "torch.distributed"),  # under torchrun alone
        ("amodal_bench/running/ranks.py", "accelerate.PartialState"),
    }
    assert [n for s in core() for n in imports(s, everywhere=False) if n.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_a_plugin_imports_the_core_and_its_own_folder(kind: str) -> None:
    """Shared parts of a kind begin with an underscore; another plugin, the other kind and the CLI are out of reach."""
    faults = []
    for source in sources(kind):
        own = ".".join(["amodal_bench", *source.module.split(".")[:2]])
        for name in imports(source, everywhere=True):
            parts = name.split(".")
            if parts[0] in ("methods", "datasets", "tests", "benchmarks") or below(name, "amodal_bench.cli"):
                faults.append((source.name, name))
            elif parts[:2] in (["amodal_bench", "methods"], ["amodal_bench", "datasets"]):
                shared = parts[1] == kind and len(parts) > 2 and parts[2].startswith("_")
                if not shared and not below(name, own):
                    faults.append((source.name, name))
    assert faults == []


ORDER = [
    *("errors", "types", "funnel", "progress", "text", "files", "masks", "plugin", "metrics", "formats", "store"),
    *("resolve", "running", "results", "tables", "figures", "report", "api", "cli"),
]


def room(module: str) -> str:
    """The first folder or file below amodal_bench."""
    return module.split(".")[1]


def test_the_core_has_few_rooms_and_a_room_imports_those_before_it() -> None:
    """Each room knows the ones before it in `ORDER` and none behind, so that there is no circle."""
    modules = {source.module.removesuffix(".__init__") for source in core()}
    rooms = {room(module) for module in modules if "." in module} - {"__main__"}
    assert rooms == set(ORDER)
    assert len(rooms) + len(LINKS) <= 22
    upward = [
        (source.name, name)
        for source in core()
        for name in imports(source, everywhere=True)
        if behind(source.module, name)
    ]
    assert upward == []


def behind(module: str, name: str) -> bool:
    """Whether `name` lies in a room behind that of `module`; the package itself offers all of them."""
    here, there = room(module), room(f"{name}.")
    inside = below(name, "amodal_bench") and {here, there} <= set(ORDER)
    return inside and ORDER.index(there) > ORDER.index(here)


def test_processes_are_started_in_one_place() -> None:
    """`git` apart, which is none of ours; `child` and the crew look after what it started."""
    users = {s.name for s in (*core(), *plugins()) if "subprocess" in imports(s, everywhere=True)}
    assert users == {
        "amodal_bench/files/processes.py",
        "amodal_bench/resolve/provenance.py",
        "amodal_bench/results/crew.py",
        "amodal_bench/running/child.py",
        "amodal_bench/running/workers.py",
    }


def test_no_print_outside_the_command_line() -> None:
    faults = [
        f"{source.name}:{node.lineno}"
        for source in (*core(), *plugins())
        if not source.name.startswith("amodal_bench/cli/")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert faults == []


def test_the_one_broad_except_stands_at_the_plugin_boundary() -> None:
    found = [
        source.name
        for source in (*core(), *plugins(), *sources("benchmarks"))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and broad(node.type)
    ]
    assert found == ["amodal_bench/running/guard.py"]


def broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(broad(part) for part in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException"))


def test_files_and_functions_are_short() -> None:
    every = (*core(), *plugins(), *sources("benchmarks"))
    assert [(source.name, source.lines) for source in every if source.lines > 400] == []
    long = {source.name for source in (*core(), *plugins()) if source.lines > 250}
    assert long == {"amodal_bench/running/run.py", "amodal_bench/store/folder.py"}
    functions = [
        (f"{source.name}:{node.name}", length)
        for source in every
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    ]
    assert functions == []


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    every = (*core(), *plugins(), *sources("tests"), *sources("benchmarks"))
    assert [s.name for s in every if s.path.stem in ("utils", "util", "helpers", "misc", "common")] == []


def test_plugin_folders_are_no_packages() -> None:
    folders = ("methods", "datasets", "tests")
    assert [folder for folder in folders if (ROOT / folder / "__init__.py").exists()] == []


@cache
def in_git(*arguments: str) -> tuple[str, ...]:
    """Entries of `git ls-files`; skips outside a checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return tuple(done.stdout.strip("\0").split("\0"))


def test_links_are_relative_and_tracked_as_links() -> None:
    modes = {line.split("\t")[1]: line.split()[0] for line in in_git("--stage", "amodal_bench")}
    for link in LINKS:
        assert modes[f"amodal_bench/{link}"] == "120000"
        assert os.readlink(ROOT / "amodal_bench" / link) == f"../{link}"  # noqa: PTH115


def test_no_file_speaks_of_one_machine_or_of_a_package_registry() -> None:
    faults = []
    for name in in_git("--cached", "--others", "--exclude-standard"):
        path = ROOT / name
        if path.is_symlink() or not path.is_file() or b"\0" in path.read_bytes()[:4096]:
            continue
        text = path.read_text(errors="replace")
        faults += [f"{name}: {match[0]}" for match in MACHINE.finditer(text)]
    assert faults == []


def test_results_of_runs_stay_out_of_git() -> None:
    assert [name for name in in_git("results") if name and name.split("/")[1] not in ("README.md", "tables")] == []


@pytest.mark.parametrize("name", ["datasets", "methods", "configs"])
def test_no_top_level_package_is_taken(name: str) -> None:
    """From the root, in the safe-path mode that the Makefile sets, `import datasets` is not our folder."""
    code = (
        f"import importlib.util as u; s = u.find_spec({name!r}); "
        "print([*(s.submodule_search_locations or ()), s.origin] if s else [])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    locations = ast.literal_eval(done.stdout)
    assert [location for location in locations if location and Path(location).is_relative_to(ROOT / name)] == []


@pytest.mark.parametrize("name", ["Makefile", ".ci/run"])
def test_make_and_ci_run_python_in_the_safe_path_mode(name: str) -> None:
    assert re.search(r"^export PYTHONSAFEPATH *:?= *1$", (ROOT / name).read_text(), re.MULTILINE)


def test_list_works_where_nothing_heavy_is_installed(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(HEAVY)!r})); sys.argv = ['amodal-bench', 'list']; "
        "import amodal_bench; from amodal_bench.cli import main; main()"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"visible +Visible mask +nothing +ready", done.stdout)
