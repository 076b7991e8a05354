"""The parameters of `sam`: ViT-H and nine random points by default; docs/sam.md says why. No torch here."""

from amodal_bench.methods._segment.baseline import PromptedParams


class SamParams(PromptedParams):
    """All that can change a prediction."""
