"""What is run: all of it that can change a number, and nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Any

from amodal_bench.errors import Refused
from amodal_bench.files.cache import file_digest, tree_digest
from amodal_bench.plugin import Settings


class RunSpec(Settings):
    """Everything that can change a prediction or a count. Files stand as their digests, never as paths."""

    method: str
    revision: int
    params: dict[str, Any]
    checkpoint: str | None = None  # of the trained weights
    pretrained: str | None = None  # of all pretrained models together
    method_source: str | None = None
    dataset: str
    split: str
    options: dict[str, Any]
    fingerprint: str
    dataset_source: str | None = None
    visible: str = "gt"
    seed: int = 0

    def key(self) -> str:
        """12 hex digits that name the run's folder.

        Pretrained models alone are hashed under the checkpoint's name, as they were before both could be told apart.
        """
        facts = self.model_dump(mode="json")
        if self.pretrained is None or self.checkpoint is None:
            facts["checkpoint"] = self.checkpoint or facts.pop("pretrained")
            facts.pop("pretrained", None)
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def instance_seed(seed: int, query_id: str) -> int:
    """63-bit seed of one instance of a run: the same in any batch, order, shard or subset."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{query_id}".encode()).digest()[:8], "big") >> 1


def resolved(settings: Settings) -> dict[str, Any]:
    """Settings as plain JSON values, with every path replaced by the digest of what lies there."""
    loaded: dict[str, Any] = json.loads(json.dumps(_resolve(_named(settings), "")))
    return loaded


def _named(settings: Settings) -> dict[str, Any]:
    """The values of settings that stand in keys and records, each under the name that it has there."""
    plain = {name: value for name, value in settings.model_dump().items() if not _as_before(settings, name)}
    for name in plain:
        if isinstance(value := getattr(settings, name), Settings):
            plain[name] = _named(value)
    return {settings.kept_names.get(name, name): value for name, value in plain.items()}


def _as_before(settings: Settings, name: str) -> bool:
    """Whether a field came later and says nothing: its value is what was done before it came."""
    if name not in settings.added_names:
        return False
    default = type(settings).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(settings, name) == default)


def _resolve(value: Any, name: str) -> Any:
    if isinstance(value, Path):
        return _digest(value, name)
    if isinstance(value, dict):
        return {str(k): _resolve(v, f"{name}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolve(v, name) for v in value]
    return value


def _digest(path: Path, name: str) -> str:
    if path.is_file():
        return f"sha256:{file_digest(path)}"
    if path.is_dir():
        return f"sha256-tree:{tree_digest(path)}"
    raise Refused(f"parameter {name}: no file or folder at {path}")
