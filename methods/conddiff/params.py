"""The parameters of CondDiff-AMO. Defaults are the paper's; where it is silent, docs/conddiff.md says why."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from amodal_bench.methods._training.settings import TrainerSettings
from amodal_bench.methods._window import CropSettings
from amodal_bench.plugin import Settings

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class Model(Settings):
    """The network: what has to be equal for a checkpoint to fit.

    `depths` to `mlp_ratios` replace those of the timm model `backbone` (None: its own). `size` is the side of
    the square that the network sees, a multiple of 32; `width` the channels of the denoising network. The visible
    mask joins the image by a projection to three channels with a kernel of `vm_kernel` pixels (`project`, for
    pretrained backbones) or as a fourth one (`channel`), or not at all (`use_vm` false). `guides` are channels after it
    that are made of it, not the paper's: its convex hull, and the distance to its edge.

    `use_vm` false takes the visible mask from the network's input alone. It still places the crop, is the mean of the
    first noise (1e-4 of it with the paper's noise), is what UST thins to (training, `ust_renoise`), holds its pixels in
    Eq. 11, and joins the answer where `union_visible` says so.
    """

    added_names: ClassVar = ("vm_kernel", "guides")

    backbone: str = "pvt_v2_b4"
    depths: tuple[int, int, int, int] | None = None
    dims: tuple[int, int, int, int] | None = None
    heads: tuple[int, int, int, int] | None = None
    mlp_ratios: tuple[int, int, int, int] | None = None
    size: int = Field(default=256, ge=32, multiple_of=32)
    width: int = Field(default=256, ge=16, multiple_of=16)
    use_vm: bool = True
    vm_input: Literal["project", "channel"] = "project"
    vm_kernel: Literal[1, 3] = 1
    guides: tuple[Literal["hull", "distance"], ...] = ()
    zoe: bool = True
    token: bool = True
    ocr: bool = True
    ocr_width: int = Field(default=256, ge=8)
    ocr_dilations: tuple[int, int, int, int] = (1, 3, 6, 12)
    ocr_residual: bool = True
    fusion: Literal["afg", "linear"] = "afg"
    afg_kernel: Literal[1, 3] = 3

    @model_validator(mode="after")
    def _guides_have_a_channel(self) -> Self:
        if self.guides and not (self.use_vm and self.vm_input == "channel"):
            raise ValueError("guides stand beside the visible mask's own channel: use_vm true, vm_input channel")
        return self


class Diffusion(Settings):
    """The forward process of training and the reverse one of sampling.

    `noise_d` shifts the log-SNR by 2 ln(noise_d / size). `forward` is what Gaussian noise is added to: the
    Unidirectional State Transition (UST), the amodal mask, or the visible mask. `ust_start` and `ust_stop` are for the
    schedule `segrefiner`. `x0_map` takes logits z to [-1, 1] in sampling: tanh(z), or 2 sigmoid(z) - 1, twice the
    probability of training less 1.

    `posterior` is Eq. 3, the paper's. Under UST it does not match training: it makes x_t of the whole predicted mask,
    where training had thinned the hidden part to a share 1 - t, so each step sees more foreground than was learned and
    the hidden part grows. `ust_renoise` thins the prediction as training does (docs/iterating.md measures both).
    """

    added_names: ClassVar = ("x0_map",)

    noise_d: float = Field(default=46.5, gt=0)
    forward: Literal["ust", "gaussian_gt", "gaussian_visible"] = "ust"
    ust_schedule: Literal["linear", "segrefiner", "tied"] = "linear"
    ust_start: float = Field(default=0.8, ge=0, le=1)
    ust_stop: float = Field(default=0.0, ge=0, le=1)
    sampler: Literal["posterior", "ust_renoise"] = "posterior"
    x0_map: Literal["tanh", "sigmoid"] = "tanh"
    steps: int = Field(default=10, ge=1, le=1000)


class Vgpe(Settings):
    """The Visible-Guided Prediction Ensemble (VGPE, Eq. 11-12).

    `constrain` holds visible pixels from the step t of T on with t >= T/2 (Eq. 11); `first_step` is the number of the
    first one, so of ten steps the last five are held (0) or the last six (1).
    `vote` decides the pixels that half of the steps call foreground: `ge` yes (Eq. 12), `gt` no. `scale` maps
    the mean prediction to [0, 1]: `affine` pixel by pixel, `minmax` by the extremes of the instance.
    """

    added_names: ClassVar = ("first_step",)

    constrain: bool = True
    first_step: Literal[0, 1] = 0
    ensemble: bool = True
    vote: Literal["ge", "gt"] = "ge"
    scale: Literal["affine", "minmax"] = "affine"


class CondDiffParams(Settings):
    """All that can change a prediction but the weights.

    `forward_batch` is how many instances the network always sees at once (short batches are padded), so that
    an instance's mask does not depend on its companions. `flip_average` predicts the mirrored image too and takes the
    mean, at twice the cost, and `threshold` is what a pixel's probability has to exceed where it is not a half (neither
    is the paper's). `precision` is what the network computes in: `fp32`; on a GPU
    `tf32` (its products rounded to 10 bits); `bf16` or `fp16` by autocast. The sampler's own arithmetic is float32 in
    all. `compile` (torch.compile) is for GPUs.
    """

    added_names: ClassVar = ("flip_average", "threshold", "precision", "compile")

    model: Model = Model()
    diffusion: Diffusion = Diffusion()
    vgpe: Vgpe = Vgpe()
    crop: CropSettings = CropSettings()
    union_visible: bool = False
    forward_batch: int = Field(default=16, ge=1)
    flip_average: bool = False
    threshold: float = Field(default=0.5, ge=0, lt=1)
    precision: Precision = "fp32"
    compile: bool = False

    @model_validator(mode="after")
    def _ust_falls(self) -> Self:
        if self.diffusion.ust_stop > self.diffusion.ust_start:
            raise ValueError("diffusion.ust_stop is above ust_start: amodal pixels can not come back")
        return self


class Augment(Settings):
    """Chance in training. Probabilities in [0, 1], strengths as half-widths around no change.

    `enlarge` draws the crop's factor from a range; `shift` moves its centre by up to that share of its side;
    `vm_morph` dilates or erodes the visible mask (for test masks that are predictions). `crop: none` trains on whole
    images, whatever crop is used to predict. `grey`, `blur`, `noise` and `jpeg` are how likely the image loses its
    colours, its detail (Gaussian, sigma up to 1.5 pixels of the network's frame), gets sensor noise (sigma up to 20 of
    255), or is stored as JPEG of quality 25 to 90.
    """

    added_names: ClassVar = ("grey", "blur", "noise", "jpeg")

    crop: Literal["as_predicted", "none"] = "as_predicted"
    flip: float = Field(default=0.5, ge=0, le=1)
    colour: float = Field(default=0.2, ge=0, lt=1)
    grey: float = Field(default=0.0, ge=0, le=1)
    blur: float = Field(default=0.0, ge=0, le=1)
    noise: float = Field(default=0.0, ge=0, le=1)
    jpeg: float = Field(default=0.0, ge=0, le=1)
    enlarge: tuple[float, float] | None = None
    shift: float = Field(default=0.0, ge=0, le=0.5)
    vm_morph: float = Field(default=0.0, ge=0, le=1)


class Loss(Settings):
    """Eq. 10. `legacy_bce` leaves the cross-entropy unweighted, as public code of this loss does.

    `visible` scales the weight of visible pixels, whose answer is given (1: as in the paper).
    """

    kernel: int = Field(default=31, ge=1)
    boundary: float = Field(default=5.0, ge=0)
    visible: float = Field(default=1.0, ge=0)
    legacy_bce: bool = False


class Times(Settings):
    """How the times of training are drawn, in [0, 1]: 0 is the mask, 1 is noise.

    `uniform` between `low` and `high` (.5 and 1: the noisier half), or `logit_normal`: there, low + (high - low) *
    sigmoid(`mean` + `spread` * n) with n standard normal; a mean above 0 prefers the noisier times.
    """

    draw: Literal["uniform", "logit_normal"] = "uniform"
    low: float = Field(default=0.0, ge=0, le=1)
    high: float = Field(default=1.0, ge=0, le=1)
    mean: float = 0.0
    spread: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"times from low {self.low} to high {self.high}: give a high above the low")
        return self


class CondDiffTraining(TrainerSettings):
    """What training adds to the parameters. The defaults are the paper's values; `batch_size` is of all processes.

    `backbone_weights`: a file in timm's or the official layout, `auto` (timm's, below the tree of weights or in the
    hub's cache), `none` (from scratch). None is `auto` where the backbone is timm's as it is, else `none`.
    `backbone_lr` is the backbone's own learning rate (None: `lr`); it falls with it. `start`: weights of this method to
    go on from (a file, or the name of weights that ship), on other data or with guides added, whose channels begin
    unseen; the backbone's are then not read.
    After every `val_every` epochs and at the end, `val_limit` instances are predicted with `val_steps` sampling steps.
    `drop_path_joint` drops a sample's token and patches together, as if they were one sequence; otherwise each draws
    for itself. `vm_start` is how the projection of image and visible mask begins (`model.vm_input` project): as the
    image (`identity`), which keeps pretrained weights, or as any convolution (`random`).
    """

    added_names: ClassVar = ("drop_path_joint", "vm_start", "times", "start")
    # The backbone's file stands in the digest by its contents, not by its name.
    asides: ClassVar = TrainerSettings.asides | {"val_steps", "backbone_weights"}

    drop_path: float = Field(default=0.1, ge=0, lt=1)
    drop_path_joint: bool = False
    dropout: float = Field(default=0.1, ge=0, lt=1)
    backbone_weights: str | None = None
    start: Path | None = None
    backbone_lr: float | None = Field(default=None, gt=0)
    vm_start: Literal["identity", "random"] = "identity"
    times: Times = Times()
    val_steps: int | None = Field(default=None, ge=1)
    augment: Augment = Augment()
    loss: Loss = Loss()

    @field_validator("start")
    @classmethod
    def _shipped(cls, start: Path | None) -> Path | None:
        shipped = Path(__file__).parent / "weights" / f"{start}.safetensors"
        return shipped if start and start.name == str(start) and shipped.is_file() else start
