"""The parameters of the tuning-free pipeline: the paper's with SDXL by default; docs/inpaint.md says why. No torch."""

from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from amodal_bench.methods._segment.settings import Segmenter
from amodal_bench.methods._things.settings import ThingsSettings
from amodal_bench.methods._training.settings import TrainerSettings
from amodal_bench.methods._window import RegionSettings
from amodal_bench.plugin import Settings


class Condition(Settings):
    """What the inpainting model is given (Sec. 3.2, Eq. 8-10).

    `background` replaces all that is not visible object: pixels drawn from the object's joint colour histogram and
    blurred (`hist`), the object's mean colour, black, white, or the image as it is. `blur` is the Gaussian's sigma as
    a share of the resolution. `object_noise` is the weight of N(0, 1) noise in the object's pixels on [-1, 1] (Eq. 9),
    which `clamp` brings back into range; `range` says on which numbers Eq. 9 is meant: those of the model, [-1, 1]
    (`signed`), or [0, 1] (`unit`), where the same noise is twice as loud beside the image. `area` is what may be
    repainted (M, Eq. 10): the convex hull of the visible mask, the mask itself, its box, or everything; grown by `grow`
    times the longer side of the visible box (a disk), and without the visible pixels where `keep_visible`.

    Ours, not the paper's: `within` cuts M, and what is answered beside the visible mask, to where `things` are seen
    (the object's own pixels among them) or to `occluders`, which are other things that adjoin what is seen of it. The
    area `occluders` is all of these.
    """

    added_names: ClassVar = ("range", "within")

    background: Literal["hist", "mean", "black", "white", "image"] = "hist"
    blur: float = Field(default=1 / 64, ge=0, le=1)
    object_noise: float = Field(default=0.3, ge=0, le=1)
    clamp: bool = True
    range: Literal["signed", "unit"] = "signed"
    area: Literal["hull", "visible", "bbox", "full", "occluders"] = "hull"
    grow: float = Field(default=0.0, ge=0, le=4)
    keep_visible: bool = False
    within: Literal["none", "things", "occluders"] = "none"

    @property
    def looks_around(self) -> bool:
        """Whether things around the object have to be known."""
        return self.within != "none" or self.area == "occluders"


class Denoising(Settings):
    """How the area is repainted.

    `leakage`: `strength` starts from the image noised to the share `strength` of `steps` (SDEdit); `eq7` mixes the
    noised image back in after every one of `steps` (Eq. 7 as printed); `off` starts from pure noise. `keep_outside`
    brings the pixels outside the area back after every step; None: as the stock pipeline does (4-channel UNets and
    Flux do, 9-channel ones do not). `guidance`: Eq. 11 with weight w = `guidance_weight` on the mask condition
    (9-channel UNets only), the library's own guidance (`text`; its scale is 1 + w, for Flux w itself), or none;
    `null_mask` is the unconditional row's mask: everything to be painted, nothing, or the same mask with an empty
    image. `prompt` may hold {category}, for which each instance's category stands. `full_strength` is the library's
    `strength` where `off` and `eq7` begin with nothing given: 1 is pure noise; None: .9999 for SDXL, as its model card
    and its pipeline have it, which begins one step later from the image under nearly as much noise, else 1. `tokens` is
    the length that Flux's prompt is filled up to for T5; None: the library's 512, of which schnell takes at most 256.
    """

    added_names: ClassVar = ("full_strength", "tokens")
    old_names: ClassVar = {"w": "guidance_weight"}
    kept_names: ClassVar = {"guidance_weight": "w"}

    leakage: Literal["strength", "eq7", "off"] = "strength"
    strength: float = Field(default=0.3, ge=0, le=1)
    steps: int = Field(default=20, ge=1, le=1000)
    keep_outside: bool | None = None
    guidance: Literal["mask", "text", "none"] = "mask"
    guidance_weight: float = Field(default=0.75, ge=0)
    null_mask: Literal["full", "zero", "keep"] = "full"
    full_strength: float | None = Field(default=None, gt=0, le=1)
    prompt: str = ""
    tokens: int | None = Field(default=None, ge=1, le=512)

    @field_validator("leakage", mode="before")
    @classmethod
    def _yaml_reads_off_as_false(cls, value: Any) -> Any:
        return "off" if value is False else value

    @model_validator(mode="after")
    def _some_step_is_run(self) -> Self:
        if self.leakage == "strength" and self.strength > 0 and int(self.steps * self.strength) < 1:
            minimum = ceil(1 / self.strength)
            minimum += int(minimum * self.strength) < 1  # rounding
            raise ValueError(
                f"strength {self.strength} of {self.steps} steps is no step at all: raise steps to at least {minimum}, "
                "or set strength to 0 for no inpainting"
            )
        return self


class Backbone(Settings):
    """The inpainting pipeline: a diffusers folder below the tree of weights, or a hub id that was downloaded.

    `dtype` auto: float32 on a CPU, on a GPU float16 (bfloat16 for Flux). SDXL's own VAE overflows in float16 and is
    kept in float32 there; `vae` is another one in its place, a folder or hub id, such as one made for float16.
    `scheduler` None: the folder's own, else a class name of diffusers. `quantize` int8 needs a GPU, the extra `quant`
    and a `forward_batch` of 1. `tiling` and `slicing` of the VAE and `offload` of idle parts save memory; tiling
    changes pixels. `channels_last` (the memory layout), `fused_qkv` (one matrix product for an attention's three) and
    `compile` (the denoising network and the VAE's decoder, when they are loaded) save time; all of them may change the
    last bits.
    """

    added_names: ClassVar = ("vae", "channels_last", "fused_qkv")

    model: str = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
    revision: str | None = None
    variant: str | None = None
    vae: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    scheduler: str | None = None
    quantize: Literal["none", "int8"] = "none"
    offload: bool = False
    tiling: bool = False
    slicing: bool = False
    channels_last: bool = False
    fused_qkv: bool = False
    compile: bool = False


class InpaintParams(Settings):
    """All that can change a prediction.

    `fill` is what repaints the area: the diffusion pipeline, or OpenCV's Telea inpainting as a classical reference.
    `resolution` is the side of the square that it works on; `region` the part of the image that is brought to it.
    `forward_batch` is how many instances the models always see at once (short batches are padded), so that an
    instance's mask does not depend on its companions. `within_area` leaves out what is found outside the area and the
    visible mask. `things` is the network that `condition.within` and the area `occluders` ask; nothing else does.
    """

    added_names: ClassVar = ("things", "within_area")

    fill: Literal["diffusion", "telea"] = "diffusion"
    resolution: int = Field(default=1024, ge=64, multiple_of=64)
    region: RegionSettings = RegionSettings()
    condition: Condition = Condition()
    denoising: Denoising = Denoising()
    backbone: Backbone = Backbone()
    segmenter: Segmenter = Segmenter()
    union_visible: bool = False
    within_area: bool = False
    things: ThingsSettings = ThingsSettings()
    forward_batch: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _companions_change_nothing(self) -> Self:
        if self.backbone.quantize == "int8" and self.forward_batch > 1:
            raise ValueError(
                "backbone.quantize=int8 looks for outliers in the whole batch, so that with forward_batch "
                f"{self.forward_batch} a mask would depend on its companions: set forward_batch to 1"
            )
        return self


class InpaintTraining(TrainerSettings):
    """Training of a tiny inpainting pipeline on whole objects; nothing hidden is ever seen.

    `channels` and `layers` are those of the UNet, `codec_width` and `codec_steps` of the decoder that is learned first.
    `black` and `own_colours` are the shares of images whose background becomes black or the object's blurred colours
    (Eq. 8); the others stay as they are. `cutout` is the share of holes which leave nothing of the image but a piece of
    the object and what is far away; the others are shapes, silhouettes and everything. `enlarge` and `shift` draw the
    window around the object. `l1` is the weight of the L1 error beside that of L2: with it the model paints what is
    likeliest, without it the mean of what is likely. `start` is a pipeline's folder to go on from.
    `others` is the share of images over which another object of the dataset is laid, the picture around kept as it is:
    of the hidden part, the hole is what `condition` would have repainted. `times`: of the schedule's steps all, half of
    them from its noisiest quarter (`spread`), or the first of sampling alone (`last`), for presets of one step.
    """

    old_names: ClassVar = {**TrainerSettings.old_names, "own": "own_colours"}
    kept_names: ClassVar = {"own_colours": "own"}
    added_names: ClassVar = ("others", "times")

    channels: tuple[int, ...] = (64, 128, 192)
    layers: int = Field(default=2, ge=1)
    codec_width: int = Field(default=16, ge=8)
    codec_steps: int = Field(default=600, ge=0)
    black: float = Field(default=0.7, ge=0, le=1)
    own_colours: float = Field(default=0.2, ge=0, le=1)
    cutout: float = Field(default=0.75, ge=0, le=1)
    enlarge: tuple[float, float] = (1.4, 2.4)
    shift: float = Field(default=0.1, ge=0, le=0.5)
    colour: float = Field(default=0.2, ge=0, lt=1)
    l1: float = Field(default=1.0, ge=0)
    start: Path | None = None
    others: float = Field(default=0.0, ge=0, le=1)
    times: Literal["spread", "last"] = "spread"
