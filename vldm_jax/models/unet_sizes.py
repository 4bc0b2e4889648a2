"""Sizes of the published U-Nets, as fields of `UNet`.

UNet(**SD21)     UNet(**SD21, temporal=TemporalSpec())     UNet(**SVD, temporal=TemporalSpec())
"""

# Stable Diffusion 1.1 to 1.5: v1-inference.yaml of CompVis/stable-diffusion; 859,520,964
# parameters.
SD14 = {
    "channels": (320, 640, 1280, 1280),
    "attention": (True, True, True, False),
    "heads": 8,
    "context_dim": 768,
    "linear_projection": False,
}

# Stable Diffusion 2.0 and 2.1: v2-inference(-v).yaml of Stability-AI/stablediffusion; 865,910,724.
SD21 = {
    "channels": (320, 640, 1280, 1280),
    "attention": (True, True, True, False),
    "head_dim": 64,
    "context_dim": 1024,
    "linear_projection": True,
}

# The x4 upscaler: x4-upscaling.yaml of Stability-AI/stablediffusion; 473.40M. Seven input channels:
# four latents and, through `concat` of the conditioning, the noised low-resolution image.
X4_UPSCALER = {
    "channels": (256, 512, 512, 1024),
    "attention": (False, True, True, True),
    "heads": 8,
    "context_dim": 1024,
    "only_cross_attention": (True, True, True, False),
    "linear_projection": True,
    "num_classes": 1000,
}

# Stable Video Diffusion: UNetSpatioTemporalConditionModel of diffusers at its default fields, which
# are the released checkpoints'; with TemporalSpec() 1,524,623,082 parameters. Eight input channels:
# four latents and, through `concat` of the conditioning, those of the first frame.
SVD = {
    "channels": (320, 640, 1280, 1280),
    "attention": (True, True, True, False),
    "head_dim": 64,
    "context_dim": 1024,
    "linear_projection": True,
    # That class sets 1e-5 in the down stage without attention and in the middle only.
    "norm_eps": (1e-6, 1e-6, 1e-6, 1e-5, 1e-5, 1e-6, 1e-6, 1e-6, 1e-6),
    "added_time_ids": 3,
}

# The driving model. The paper gives latents of 16x32x4 and no widths; these follow its text model
# (two residual blocks a level, heads of 64) with the three levels that 16x32 allows.
DRIVING = {
    "channels": (256, 512, 1024),
    "attention": (True, True, True),
    "head_dim": 64,
    "context_dim": 512,
    "linear_projection": True,
    "label_tokens": ("binary", "count"),
}

# The same for two CPU cores, on latents of 8x16x8.
DRIVING_TINY = {
    "channels": (64, 96),
    "attention": (True, True),
    "layers_per_level": 1,
    "out_channels": 8,
    "head_dim": 32,
    "context_dim": 64,
    "linear_projection": True,
    "norm_groups": 8,
    "label_tokens": ("binary", "count"),
}

# The driving upsampler, in pixels. The paper tells no widths; these are of latent diffusion's model
# of super-resolution (bsr_sr), without attention, so that it acts locally. Six input channels:
# three of the frame and, through `concat`, the noised low-resolution frame.
DRIVING_UPSAMPLER = {
    "channels": (160, 320, 320, 640),
    "attention": (False, False, False, False),
    "out_channels": 3,
    "head_dim": 32,
    "more_conditions": ({"kind": "low_res_noise"},),
}

# The same for two CPU cores, on blocks of 4x4 pixels: 51 input channels, 48 of the blocks.
DRIVING_UPSAMPLER_TINY = {
    "channels": (64, 96),
    "attention": (False, False),
    "layers_per_level": 1,
    "out_channels": 48,
    "head_dim": 32,
    "norm_groups": 8,
    "more_conditions": ({"kind": "low_res_noise"},),
}

SIZES = {
    "sd14": SD14,
    "sd21": SD21,
    "x4_upscaler": X4_UPSCALER,
    "svd": SVD,
    "driving": DRIVING,
    "driving_tiny": DRIVING_TINY,
    "driving_upsampler": DRIVING_UPSAMPLER,
    "driving_upsampler_tiny": DRIVING_UPSAMPLER_TINY,
}
