"""The prompt's embeddings: from the pipeline's folder, from the cache, or made once by its text encoders."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from amodal_bench.errors import Refused
from amodal_bench.files.cache import cache_folder, tree_digest, write_atomic

from .backbones import PipelineKind
from .params import Backbone
from .pipelines import dtype_of, load_texts
from .placing import handed_back

log = logging.getLogger(__name__)

Embeddings = dict[str, Tensor]  # by the names of the pipelines' arguments, one row each

FILE = "prompt_embeds.safetensors"
_NAMES = {
    "sd": ("prompt_embeds", "negative_prompt_embeds"),
    "xl": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
    "flux": ("prompt_embeds", "pooled_prompt_embeds"),
    "fill": ("prompt_embeds", "pooled_prompt_embeds"),
}


class Prompt(NamedTuple):
    """What is asked for, and up to how many tokens Flux's T5 fills it; None: the library's number."""

    text: str
    tokens: int | None = None


class Texts:
    """The embeddings of each prompt, asked for once; `make` finds or makes those of one."""

    def __init__(self, make: Callable[[str], Embeddings]) -> None:
        self._make = make
        self._found: dict[str, Embeddings] = {}

    def of(self, prompt: str) -> Embeddings:
        """One row each."""
        if prompt not in self._found:
            self._found[prompt] = self._make(prompt)
        return self._found[prompt]

    def rows(self, prompts: Sequence[str], same: bool) -> Embeddings:
        """A row for each prompt; with `same` the unconditional half has the prompt, so that only the mask differs."""
        found = [self.of(prompt) for prompt in prompts]
        names = {name: name.removeprefix("negative_") if same else name for name in found[0]}
        return {name: torch.cat([one[taken] for one in found]) for name, taken in names.items()}


def embeddings(folder: Path, kind: PipelineKind, settings: Backbone, prompt: Prompt, device: str) -> Embeddings:
    """`prompt_embeds` (1, n, d) and what else the family's call takes, in the run's number type.

    A file prompt_embeds.safetensors in the folder stands for text encoders. Else the folder's own encode the prompt
    once, and the cache keeps the result under a digest of the encoders' files. Raises `Refused` where there is
    neither, or where the file is for another prompt or another length.
    """
    if prompt.tokens and not kind.flux:
        raise Refused(
            f"denoising.tokens={prompt.tokens} is the length of Flux's prompt; this is {kind.family}, whose text "
            "encoder has one length: leave denoising.tokens out"
        )
    shipped = folder / FILE
    if shipped.is_file():
        found = _shipped(shipped, kind, prompt)
    elif kind.texts:
        found = _remembered(folder, kind, settings, prompt, device)
    else:
        raise Refused(f"{folder} has neither text encoders nor {FILE}: the prompt {prompt.text!r} has no embeddings")
    dtype = dtype_of(settings, kind, device)
    return {name: found[name].to(device, dtype) for name in _NAMES[kind.family]}


def _shipped(path: Path, kind: PipelineKind, prompt: Prompt) -> Embeddings:
    try:
        with safe_open(path, "pt") as file:
            made_for = (file.metadata() or {}).get("prompt", "")
        found: Embeddings = load_file(path)
    except SafetensorError as error:
        raise Refused(f"{path} is damaged: {error}") from error
    if made_for != prompt.text:
        raise Refused(
            f"{path} is for the prompt {made_for!r}, asked for {prompt.text!r}: there are no text encoders for it"
        )
    missing = [name for name in _NAMES[kind.family] if name.removeprefix("negative_") not in found]
    if missing:
        raise Refused(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(found))}")
    length = found["prompt_embeds"].shape[1]
    if prompt.tokens not in (None, length):
        raise Refused(f"{path} has {length} tokens, asked for {prompt.tokens}: set denoising.tokens={length}")
    return {name: found.get(name, found[name.removeprefix("negative_")]) for name in _NAMES[kind.family]}


def _remembered(folder: Path, kind: PipelineKind, settings: Backbone, prompt: Prompt, device: str) -> Embeddings:
    try:
        note = _note(folder, kind, settings, prompt, device)
        note.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("embeddings of the prompt are made anew each time: %s", error)
        return _encoded(folder, kind, settings, prompt, device)
    found = _kept(note, kind)
    if found is None:
        found = _encoded(folder, kind, settings, prompt, device)
        write_atomic(note, save(found, {"prompt": prompt.text}))
    return found


def _kept(note: Path, kind: PipelineKind) -> Embeddings | None:
    """What the cache holds; None where it holds nothing, or nothing that is whole."""
    if not note.is_file():
        return None
    try:
        found: Embeddings = load_file(note)
    except SafetensorError as error:
        log.warning("%s is damaged and is made anew (%s)", note, error)
        return None
    return found if all(name in found for name in _NAMES[kind.family]) else None


def _note(folder: Path, kind: PipelineKind, settings: Backbone, prompt: Prompt, device: str) -> Path:
    """The cache's file for these text encoders, this prompt and the way of computing."""
    parts = sorted(part for part in folder.iterdir() if part.name.startswith(("text_encoder", "tokenizer")))
    digests = [f"{part.name} {tree_digest(part)}" for part in parts]
    index = hashlib.sha256((folder / "model_index.json").read_bytes()).hexdigest()
    how = [str(settings.variant), str(dtype_of(settings, kind, device)), device.partition(":")[0]]
    how += [f"{prompt.tokens} tokens"] if prompt.tokens else []
    text = "\n".join([folder.name, index, *digests, *how, prompt.text])
    return cache_folder() / "prompts" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


@torch.no_grad()
def _encoded(folder: Path, kind: PipelineKind, settings: Backbone, prompt: Prompt, device: str) -> Embeddings:
    """What the stock pipeline makes of the prompt, the unconditional half for text guidance included."""
    pipe: Any = load_texts(folder, kind, settings, device)
    text = prompt.text
    if kind.flux:
        length = {"max_sequence_length": prompt.tokens} if prompt.tokens else {}
        found = pipe.encode_prompt(text, text, device=device, **length)[:2]
    else:
        found = pipe.encode_prompt(text, device=device, num_images_per_prompt=1, do_classifier_free_guidance=True)
    kept = {name: value.cpu().contiguous() for name, value in zip(_NAMES[kind.family], found, strict=True)}
    del pipe, found
    handed_back(device)  # T5 alone holds 9.5 GB, which the transformer that is read next needs
    return kept
