"""The segment-anything architecture at 64 pixels: a million parameters instead of 94 to 641."""

from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

SIZE = 64
_PATCH = 4
_WIDTH = 64


def build_nano() -> Sam:
    """A Sam with random weights for images of 64 x 64 pixels; masks come out at 64 x 64."""
    grid = SIZE // _PATCH
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=SIZE,
            patch_size=_PATCH,
            embed_dim=128,
            depth=4,
            num_heads=4,
            window_size=8,
            global_attn_indexes=(1, 3),
            out_chans=_WIDTH,
            use_rel_pos=True,
            qkv_bias=True,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=_WIDTH,
            image_embedding_size=(grid, grid),
            input_image_size=(SIZE, SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=_WIDTH, mlp_dim=256, num_heads=4),
            transformer_dim=_WIDTH,
        ),
    ).eval()
