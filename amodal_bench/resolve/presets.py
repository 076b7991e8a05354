"""Presets (a method and its parameters under a name) and `--set key=value`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.files.documents import MOST_DEPTH, BadDocument, parse_yaml, read_yaml
from amodal_bench.files.names import PlainName
from amodal_bench.files.package import CONFIGS
from amodal_bench.plugin import AnyMethod, Settings
from amodal_bench.resolve.registry import Plugin, Registry
from amodal_bench.resolve.voting import Voter, Voting
from amodal_bench.store.spec import resolved

ONE = Voting()


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
    """A method ready to be made: `name` is the label of its runs, `weights` the name its weights lie under.

    `outside_file` is what its file says, where that is not built in: it goes into the run's record, so that whoever
    holds the record holds the preset.
    """

    name: str
    plugin: Plugin[AnyMethod]
    params: Settings
    trained_on: str | None = None
    weights_of: str | None = None
    voting: Voting = ONE
    title: str = ""
    outside_file: PresetFile | None = None

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
    """Names of the files in configs/methods, and of those from outside."""
    return configs.names("methods")


def embedded_methods() -> list[str]:
    """What is compared when no method is named: configs/embedded.yaml."""
    methods: list[str] = read_yaml(CONFIGS / "embedded.yaml", "a list of methods")["methods"]
    return methods


def read_preset(path: Path) -> PresetFile:
    """Read one file; raises `Refused` naming it."""
    try:
        return PresetFile.model_validate(read_yaml(path, "a preset"))
    except ValidationError as error:
        raise Refused(f"{path}: not a preset: {error}") from None


def find_preset(
    name: str, registry: Registry, changes: Mapping[str, Any] | None = None, outside_file: PresetFile | None = None
) -> Preset:
    """The plugin of that name with its defaults, or a preset's name or file; `changes` come on top.

    `voting.samples` and `voting.vote` among the changes are for every method (`Voting`). `outside_file` is what a
    run's record holds of a preset that is not built in: no file is looked for then.
    """
    file = outside_file
    if file is None:
        name, file, outside_file = _read(name, registry.names("methods"))
    plugin = registry.method(file.method)
    asked = dict(changes or {})
    voting = asked.pop("voting", {})
    params = build(plugin.cls.Params, merged(file.params, asked), f"method {name!r}")
    votes = build(Voting, {**dict(file.voting), **voting}, "the vote (--set voting.KEY=VALUE)")
    vote = Voting(**dict(votes))
    return Preset(name, plugin, params, file.trained_on, file.weights_of, vote, file.title, outside_file)


def _read(name: str, methods: Sequence[str]) -> tuple[str, PresetFile, PresetFile | None]:
    """The label, what the preset's file says, and that again where the file is not built in."""
    config = configs.find("methods", name)
    label = config.name if config else name
    if config:
        file = read_preset(config.path)
        if label in methods and (config.origin or file.method != label):
            raise Refused(f"{config.path}: there is a method {label!r} already: give the preset another name")
        return label, file, file if config.origin else None
    if label not in methods:
        raise UnknownName("method or preset", name, {*methods, *preset_names()})
    return label, PresetFile(method=label), None


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
        messages = [(e, e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        faults = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {msg[0].lower()}{msg[1:]}" for e, msg in messages]
        raise Refused(f"{owner}: {'; '.join(faults)}") from None


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, inside nested mappings too."""
    result = dict(base)
    for name, value in changes.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result
