"""Presets (a method and its parameters under a name) and `--set key=value`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.documents import MOST_DEPTH, BadDocument, parse_yaml, read_yaml
from amodal_bench.files.names import PlainName
from amodal_bench.files.package import CONFIGS
from amodal_bench.plugin import AnyMethod, Settings
from amodal_bench.resolve.registry import Plugin, Registry
from amodal_bench.resolve.voting import Voter, Voting
from amodal_bench.store.spec import resolved

ONE = Voting()
FOLDER = CONFIGS / "methods"


class PresetFile(Settings):
    """configs/methods/NAME.yaml.

    `trained_on` is where its weights come from when not the dataset it runs on; `weights_of` the preset whose
    weights it takes when not its own.
    """

    method: str
    title: str = ""
    params: dict[str, Any] = {}
    voting: Voting = Voting()
    trained_on: PlainName | None = None
    weights_of: PlainName | None = None


@dataclass(frozen=True, slots=True)
class Preset:
    """A method ready to be made: `name` is the label of its runs, `weights` the name its weights lie under."""

    name: str
    plugin: Plugin[AnyMethod]
    params: Settings
    trained_on: str | None = None
    weights_of: str | None = None
    voting: Voting = ONE

    @property
    def weights(self) -> str:
        """The folder's name in the tree of weights."""
        return self.weights_of or self.name

    def make(self) -> AnyMethod:
        """A method that has not loaded its weights."""
        method = self.plugin.cls(self.params)
        return method if self.voting.samples == 1 else Voter(method, self.voting)

    def resolved(self) -> dict[str, Any]:
        """The parameters as they are hashed: with the vote where there is one."""
        vote = {"voting": resolved(self.voting)} if self.voting.samples > 1 else {}
        return {**resolved(self.params), **vote}


def preset_names() -> list[str]:
    """Names of the files in configs/methods."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def embedded_methods() -> list[str]:
    """What is compared when no method is named: configs/embedded.yaml."""
    methods: list[str] = read_yaml(FOLDER.parent / "embedded.yaml", "a list of methods")["methods"]
    return methods


def read_preset(path: Path) -> PresetFile:
    """Read one file; raises `Refused` naming it."""
    try:
        return PresetFile.model_validate(read_yaml(path, "a preset"))
    except ValidationError as error:
        raise Refused(f"{path}: not a preset: {error}") from None


def find_preset(name: str, registry: Registry, changes: Mapping[str, Any] | None = None) -> Preset:
    """A preset of that name, else the plugin of that name with its defaults; `changes` come on top.

    `voting.samples` and `voting.vote` among the changes are for every method (`Voting`).
    """
    methods = registry.names("methods")
    if name in methods:
        file = PresetFile(method=name)
    elif name in preset_names():
        file = read_preset(FOLDER / f"{name}.yaml")
    else:
        raise UnknownName("method or preset", name, {*methods, *preset_names()})
    plugin = registry.method(file.method)
    own = dict(changes or {})
    given = own.pop("voting", {})
    params = build(plugin.cls.Params, merged(file.params, own), f"method {name!r}")
    votes = build(Voting, {**dict(file.voting), **given}, "the vote (--set voting.KEY=VALUE)")
    return Preset(name, plugin, params, file.trained_on, file.weights_of, Voting(**dict(votes)))


def parse_changes(items: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--set` items as (method parameters, dataset options); `dataset.KEY=VALUE` is for the dataset.

    Values are YAML: `steps=10`, `include_stuff=false`, `points=[1, 2]`; `a.b=c` reaches into a nested one.
    """
    params: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise Refused(f"--set takes key=value, got {item!r}")
        target = params
        if key.startswith("dataset."):
            target, key = options, key.removeprefix("dataset.")
        *outer, last = key.split(".", MOST_DEPTH)
        for name in outer:
            target = target.setdefault(name, {})
            if not isinstance(target, dict):
                raise Refused(f"--set {item}: {name} was given a value of its own before")
        target[last] = _value(item, text)
    return params, options


def _value(item: str, text: str) -> Any:
    try:
        return parse_yaml(text)
    except BadDocument as error:
        shown = item if len(item) <= 80 else f"{item[:77]}..."
        raise Refused(f"--set {shown}: the value {error}") from None


def build(model: type[Settings], values: Mapping[str, Any], owner: str) -> Settings:
    """Validate settings; raises `UnknownName` or `Refused` naming owner, field, value and what was expected."""
    for name in values:
        if name not in model.model_fields:
            raise UnknownName(f"parameter of {owner}", name, model.model_fields)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        told = [(e, e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        faults = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {msg[0].lower()}{msg[1:]}" for e, msg in told]
        raise Refused(f"{owner}: {'; '.join(faults)}") from None


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, inside nested mappings too."""
    result = dict(base)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result
