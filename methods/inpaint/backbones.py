"""Which inpainting pipelines are known, where they lie, and what their folders say of them. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amodal_bench.errors import Refused
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.methods import _pretrained
from amodal_bench.methods._pretrained import WeightsSource

from .params import Backbone

Family = Literal["sd", "xl", "flux", "fill"]

SHIPPED = Path(__file__).parent / "weights"
NANO = "inpaint-nano/synthetic/pipeline"

# The class that model_index.json names -> the family whose inpainting pipeline runs the folder.
FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionInpaintPipeline": "sd",
    "StableDiffusionXLPipeline": "xl",
    "StableDiffusionXLImg2ImgPipeline": "xl",
    "StableDiffusionXLInpaintPipeline": "xl",
    "FluxPipeline": "flux",
    "FluxImg2ImgPipeline": "flux",
    "FluxInpaintPipeline": "flux",
    "FluxFillPipeline": "fill",
}

# id -> title, licence, size of the files of one precision
_KNOWN = {
    "stable-diffusion-v1-5/stable-diffusion-inpainting": (
        "Stable Diffusion 1.5 inpainting", "CreativeML OpenRAIL-M", "about 4 GB, half of it with backbone.variant=fp16",
    ),
    "sd2-community/stable-diffusion-2-inpainting": (
        "Stable Diffusion 2 inpainting", "CreativeML OpenRAIL++-M", "about 5 GB, half of it with backbone.variant=fp16",
    ),
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": (
        "Stable Diffusion XL inpainting", "CreativeML OpenRAIL++-M",
        "about 14 GB, half of it with backbone.variant=fp16",
    ),
    "black-forest-labs/FLUX.1-schnell": ("FLUX.1 schnell", "Apache-2.0", "about 34 GB in bfloat16"),
    "black-forest-labs/FLUX.1-Fill-dev": (
        "FLUX.1 Fill dev", "FLUX.1 dev non-commercial, to be accepted on its page", "about 34 GB in bfloat16",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PipelineKind:
    """What the configuration files of a pipeline's folder say, read before any weights are."""

    family: Family
    inputs: int  # channels that the denoising network takes
    factor: int  # pixels a latent pixel, along one side
    texts: tuple[str, ...]  # text encoders that the folder holds

    @property
    def flux(self) -> bool:
        """Whether it is a flow on packed latents."""
        return self.family in ("flux", "fill")

    @property
    def body(self) -> str:
        """The part that denoises."""
        return "transformer" if self.flux else "unet"

    @property
    def takes_mask(self) -> bool:
        """Whether the network sees the area; else the stock pipeline brings the outside back after every step."""
        return self.family == "fill" or self.inputs == 9

    @property
    def mask_guided(self) -> bool:
        """Whether Eq. 11 can be run: only UNets that see the area have an unconditional row for it."""
        return self.takes_mask and not self.flux


def source(settings: Backbone) -> WeightsSource:
    """Title, licence, size and the command that gets the model."""
    if settings.model == NANO:
        train = "amodal-bench train --method inpaint-nano --dataset synthetic, whose pipeline belongs at {folder}"
        return WeightsSource("Inpainting nano of this project", "Apache-2.0", "a few MB", train)
    if not _pretrained.is_hub_id(settings.model):
        hint = "put a folder in the layout of diffusers, as save_pretrained leaves it, at {folder}"
        return WeightsSource("An inpainting pipeline", "its own", "its own", hint)
    title, licence, size = _KNOWN.get(settings.model, ("An inpainting pipeline", "see its page", "see its page"))
    return WeightsSource(title, licence, size, _download(settings))


def vae_source(name: str) -> WeightsSource:
    """The same of a VAE of its own."""
    if not _pretrained.is_hub_id(name):
        hint = "put the folder of a VAE in the layout of diffusers (config.json and weights) at {folder}"
        return WeightsSource("A VAE", "its own", "its own", hint)
    get = f'hf download {name} --include "config.json" --include "diffusion_pytorch_model.safetensors"'
    return WeightsSource("A VAE", "see its page", "about 335 MB in float32", f"{get} --local-dir {{folder}}")


def _download(settings: Backbone) -> str:
    """The command that gets what is read, in one precision: repositories hold the same weights several times.

    The known ones have all of them as .safetensors and some once more as .bin; of others that is not known.
    """
    if settings.variant:
        included, excluded = [f"*.{settings.variant}.*", "*.json", "*.txt", "*.model"], []
    else:  # what lies beside model_index.json is for other programs
        included, excluded = ["*/*", "model_index.json"], ["*.fp16.*"]
    chosen = [f'--include "{pattern}"' for pattern in included]
    excluded += ["*.bin"] if settings.model in _KNOWN else []
    chosen += [f'--exclude "{pattern}"' for pattern in ["safety_checker/*", *excluded]]
    revision = [f"--revision {settings.revision}"] if settings.revision else []
    return " ".join(["hf download", settings.model, *revision, *chosen, "--local-dir {folder}"])


def find(settings: Backbone, weights: Path) -> Path:
    """The pipeline's folder; raises `WeightsNotFound` naming the places looked in, licence, size and command."""
    return _pretrained.find(settings.model, source(settings), weights, SHIPPED, settings.revision)


def find_vae(name: str, weights: Path) -> Path:
    """The folder of the VAE that replaces the pipeline's own; as `find`."""
    return _pretrained.find(name, vae_source(name), weights, SHIPPED)


def read(folder: Path, other_vae: Path | None = None) -> PipelineKind:
    """What the folder is, with another VAE or its own; raises `Refused` where it is no pipeline that can inpaint."""
    index = _json(folder / "model_index.json")
    name = str(index.get("_class_name"))
    if name not in FAMILIES:
        raise Refused(f"{folder} holds a {name}; known are {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    flux = family in ("flux", "fill")
    body = "transformer" if flux else "unet"
    part = other_vae or folder / "vae"
    vae = _json(part / "config.json")
    if not vae.get("block_out_channels"):
        raise Refused(f"{part} holds a {vae.get('_class_name')} without block_out_channels: its scale is unknown")
    factor, latents = 2 ** (len(vae["block_out_channels"]) - 1), int(vae.get("latent_channels", 4))
    _check(part, "makes latents of", latents, (16,) if flux else (4,))
    expected = {"sd": (4, 9), "xl": (4, 9), "flux": (4 * latents,), "fill": (8 * latents + 4 * factor**2,)}[family]
    inputs = int(_json(folder / body / "config.json").get("in_channels", 64 if flux else 4))
    _check(folder / body, "takes", inputs, expected)
    texts = tuple(part for part in ("text_encoder", "text_encoder_2") if (index.get(part) or [None])[0])
    return PipelineKind(family, inputs, factor, texts)


def check_size(folder: Path, kind: PipelineKind, resolution: int) -> None:
    """Raise `Refused` where the resolution is not a whole number of latent pixels (of 2x2 patches for Flux)."""
    step = kind.factor * (2 if kind.flux else 1)
    if resolution % step:
        raise Refused(
            f"resolution {resolution} is no multiple of {step}, which one {'patch' if kind.flux else 'pixel'} of the "
            f"latents of {folder} covers: set resolution={-(-resolution // step) * step}"
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_bytes())
        if not isinstance(found, dict):
            raise BadDocument("holds no mapping")
        return found
    except (OSError, BadDocument) as error:
        reason = error if isinstance(error, BadDocument) else type(error).__name__
        raise Refused(
            f"{path} cannot be read ({reason}): expected a folder in the layout of diffusers, with "
            "model_index.json and one folder a part, as `hf download` and `save_pretrained` leave it"
        ) from error


def _check(part: Path, verb: str, found: int, expected: tuple[int, ...]) -> None:
    if found not in expected:
        numbers = " or ".join(map(str, expected))
        raise Refused(f"{part} {verb} {found} channels, expected {numbers}: this is no inpainting model of its family")
