"""inpaint on a card: the published architectures with random weights that are made there, and SAM ViT-H."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architectures import PUBLISHED, TINY, Architecture
from card import TERA, forget_peak, limit, on_card, peak_gib, seconds
from conddiff_masks import compared
from segment_anything import SamPredictor, build_sam_vit_h
from stages import Stage
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from amodal_bench.methods._precision import Precision
from amodal_bench.methods._segment.nano import build_nano
from amodal_bench.methods._segment.sam import SamSegmenter
from amodal_bench.methods._window import cut_image, cut_visible, find_window
from amodal_bench.methods.inpaint import Inpaint, InpaintParams
from amodal_bench.methods.inpaint.condition import condition
from amodal_bench.methods.inpaint.diffusion import DiffusionFill
from amodal_bench.methods.inpaint.latents import decode, encode
from amodal_bench.methods.inpaint.pipelines import CLASSES, WITHOUT, dtype_of
from amodal_bench.methods.inpaint.placing import placed
from amodal_bench.types import AmodalQuery, Mask

ROOT = Path(__file__).parents[2]
WARM, TIMED = 3, 20
PRECISIONS: dict[str, Precision] = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "tf32": "tf32"}
FAST = {"channels_last": True, "fused_qkv": True}
TEXTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
# Of each model: how its numbers are stored, instances at once, guidance, options. The default first.
VARIANTS: tuple[tuple[str, int, str, dict[str, Any]], ...] = (
    ("float16", 1, "mask", {}), ("float16", 1, "none", {}), ("float16", 4, "mask", {}), ("float16", 8, "mask", {}),
    ("bfloat16", 1, "mask", {}), ("float32", 1, "mask", {}), ("float16", 1, "mask", FAST),
    ("float16", 1, "mask", {**FAST, "compile": True}),
)  # fmt: skip
FLUX_VARIANTS: tuple[tuple[str, int, str, dict[str, Any]], ...] = (
    ("bfloat16", 1, "none", {}), ("bfloat16", 4, "none", {}), ("bfloat16", 1, "none", {"fused_qkv": True}),
    ("bfloat16", 1, "none", {"fused_qkv": True, "compile": True}),
)  # fmt: skip


def stages(device: str, dry: bool) -> list[Stage]:
    """What is measured, the default of every model first; what is compiled comes last, as it takes longest."""
    bench = Bench(device, TINY if dry else PUBLISHED, build_nano if dry else build_sam_vit_h, 64 if dry else 8192)
    found = [Stage("limits", bench.limits)]
    for dtype, batch in product(PRECISIONS, (1, 4)):
        found.append(Stage(f"sam {dtype} {batch}", partial(bench.sam, dtype, batch)))
    rest: list[Stage] = []
    for name in bench.models:
        variants = FLUX_VARIANTS if name == "flux" else VARIANTS
        for number, (dtype, batch, guidance, options) in enumerate(variants[:1] + variants[-2:] if dry else variants):
            how = "".join(f" {option}" for option in options)
            label = f"{name} {dtype} {batch} {'guided' if guidance == 'mask' else 'plain'}{how}"
            stage = Stage(
                label, partial(bench.model, name, dtype, batch, guidance, options), 90 if "compile" in options else 25
            )
            (rest if number else found).append(stage)
    found += [Stage(f"predicting {name}", partial(bench.predicting, name), 45) for name in list(bench.models)[:2]]
    found += [Stage("masks by device", bench.by_device), Stage("contract", bench.contract)]
    return found + sorted(rest, key=lambda stage: "compile" in stage.name)


@dataclass
class Bench:
    """What is measured, on which device, of which models. One model is held at a time."""

    device: str
    models: Any  # name -> Architecture
    build_sam: Callable[[], Any]
    side: int  # of the matrices of the card's limit

    def limits(self) -> dict[str, float]:
        """TFLOP/s of one large matrix product by precision."""
        return {f"{name}_tflop_s": limit(name, self.device, self.side) for name in PRECISIONS.values()}

    def fill(
        self, name: str, dtype: str, batch: int = 1, guidance: str = "mask", options: dict[str, Any] | None = None
    ) -> DiffusionFill:
        """The model with random weights as the method runs it. A dry run computes in float32 and compiles nothing."""
        gc.collect()
        forget_peak(self.device)
        architecture: Architecture = self.models[name]
        backbone = {"dtype": dtype, **(options or {})}
        if not on_card(self.device):
            backbone |= {"dtype": "float32", "compile": False}
        params = InpaintParams.model_validate(
            {
                "resolution": architecture.side, "forward_batch": batch, "backbone": backbone,
                "denoising": {"guidance": guidance}, "segmenter": {"dtype": "bfloat16"},
            }
        )  # fmt: skip
        kind = architecture.kind
        number = dtype_of(params.backbone, kind, self.device)
        missing = dict.fromkeys(TEXTS if kind.family != "sd" else TEXTS[:2])
        pipe = CLASSES[kind.family](**architecture.parts(self.device, number), **missing, **WITHOUT[kind.family])
        pipe.set_progress_bar_config(disable=True)
        pipe = placed(pipe, kind, params.backbone, self.device)
        return DiffusionFill.of(pipe, kind, architecture.embeddings(self.device, number), params, self.device)

    def model(self, name: str, dtype: str, batch: int, guidance: str, options: dict[str, Any]) -> dict[str, Any]:
        """Seconds of a batch's parts and of all of it, operations, memory."""
        fill, side = self.fill(name, dtype, batch, guidance, options), self.models[name].side
        pixels = torch.rand(batch, 3, side, side, device=self.device) * 2 - 1
        area = torch.zeros(batch, 1, side, side, device=self.device)
        area[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        seeds = list(range(batch))
        with torch.no_grad():
            start = time.perf_counter()
            latents = fill.latents(pixels, area, seeds)
            first = time.perf_counter() - start
            decode(fill.pipe.vae, latents)
            images = torch.cat([pixels, pixels * (1 - area)]) if fill._kind.takes_mask else pixels
            parts = {
                "encode_s": self._seconds(lambda: encode(fill.pipe.vae, images)),
                "latents_s": self._seconds(lambda: fill.latents(pixels, area, seeds)),
                "decode_s": self._seconds(lambda: decode(fill.pipe.vae, latents)),
            }
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                decode(fill.pipe.vae, fill.latents(pixels, area, seeds))
        total, flop = parts["latents_s"] + parts["decode_s"], counter.get_total_flops()
        denoise = parts["latents_s"] - parts["encode_s"]
        precision = PRECISIONS[str(fill._dtype).removeprefix("torch.")]
        tflops = flop / total / TERA
        return {
            **parts, "denoise_s": denoise, "batch_s": total, "instance_s": total / batch, "first_call_s": first,
            "tflop_an_instance": flop / batch / TERA, "tflop_s": tflops, "peak_gib": peak_gib(self.device),
            "share_of_limit": tflops / limit(precision, self.device, self.side),
        }  # fmt: skip

    def _seconds(self, call: Callable[[], object]) -> float:
        for _ in range(WARM if on_card(self.device) else 0):
            call()
        return seconds(call, self.device, most=TIMED, enough=6.0)

    def segmenter(self, dtype: str, batch: int, device: str | None = None) -> SamSegmenter:
        """SAM with random weights."""
        torch.manual_seed(0)
        settings = InpaintParams.model_validate({"segmenter": {"dtype": dtype}}).segmenter
        return SamSegmenter(self.build_sam(), settings, device or self.device, batch)

    def sam(self, dtype: str, batch: int) -> dict[str, Any]:
        """Seconds of encoding a batch of images and of one object's decoding, both from and to the CPU."""
        segmenter = self.segmenter(dtype, batch)
        image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
        visible = np.ones((512, 512), dtype=np.bool_)
        points = np.random.default_rng(0).uniform(0, 511, (9, 2)).round()
        forget_peak(self.device)
        with torch.inference_mode():
            embedded = segmenter._encoded([image] * batch)[0]
            return {
                "encode_s": self._seconds(lambda: segmenter._encoded([image] * batch)) / batch,
                "decode_s": self._seconds(lambda: segmenter.decode(embedded, points, visible)),
                "peak_gib": peak_gib(self.device),
            }

    def predicting(self, name: str) -> dict[str, Any]:
        """Instances a second of `predict`, all beside the models included, and one by one with SAM's own predictor."""
        fill = self.fill(name, "float16", guidance="none")
        method = Inpaint(fill._params)
        method.use(fill, self.segmenter("bfloat16", 1), device=self.device)
        count = TIMED if on_card(self.device) else 2
        queries = list(_queries(count + WARM))
        seeds = range(len(queries))
        method.predict(queries[:WARM], seeds[:WARM])
        overlapped = seconds(lambda: method.predict(queries[WARM:], seeds[WARM:]), self.device, most=1)
        predictor = SamPredictor(self.segmenter("float32", 1).sam)
        self._plain(fill, predictor, queries[0])
        apart = seconds(lambda: [self._plain(fill, predictor, q) for q in queries[WARM:]], self.device, most=1)
        return {"predict_instances_s": count / overlapped, "one_by_one_instances_s": count / apart}

    def _plain(self, fill: DiffusionFill, predictor: Any, query: AmodalQuery) -> Any:
        """One instance, step after step, with the libraries' own calls."""
        side, params = fill._params.resolution, fill._params
        window = find_window(query.visible, params.region)
        image = cut_image(query.image, window, side)
        visible = cut_visible(query.visible, window, side, by_area=True)
        given = condition(image, visible, params.condition, np.random.default_rng(0))
        painted = fill(given.x[None], given.area[None], [0])[0]
        predictor.set_image(painted)
        points = np.argwhere(visible)[:: max(1, int(visible.sum()) // 9)][:9, ::-1]
        return predictor.predict(points, np.ones(len(points)), multimask_output=False)

    def _tiny(self, device: str) -> Inpaint:
        """Tiny models with the same random weights on any device, in float32."""
        here = Bench(device, TINY, build_nano, 64)
        fill = Bench("cpu", TINY, build_nano, 64).fill("sd15", "float32", 4)
        fill = DiffusionFill.of(
            fill.pipe.to(device), fill._kind, TINY["sd15"].embeddings(device, torch.float32), fill._params, device
        )
        made = Inpaint(fill._params)
        made.use(fill, here.segmenter("float32", 4, device), device=device)
        return made

    def by_device(self) -> dict[str, Any]:
        """Masks of the card against those of the CPU, of tiny models in float32."""
        queries = list(_queries(12))
        found: list[list[Mask]] = [self._tiny(device).predict(queries, range(12)) for device in ("cpu", self.device)]
        return compared(*found)

    def contract(self) -> dict[str, Any]:
        """What the tests ask of every method, asked on this device."""
        spec = spec_from_file_location("contract", ROOT / "tests" / "test_contract.py")
        if spec is None or spec.loader is None:
            raise ImportError("tests/test_contract.py can not be read")
        contract = module_from_spec(spec)
        spec.loader.exec_module(contract)
        contract.check_answers(partial(self._tiny, self.device))
        return {"held": True}


def _queries(count: int) -> Iterator[AmodalQuery]:
    """Objects on one frame of noise, each a box in another place."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    for number in range(count):
        visible = np.zeros((96, 128), dtype=np.bool_)
        top, left = int(rng.integers(0, 48)), int(rng.integers(0, 64))
        visible[top : top + 30, left : left + 40] = True
        yield AmodalQuery(f"made/test/{number}/0", str(number), image, visible)
