"""The public classes with random weights, small: what imports and exports are compared with.

Every parameter is drawn, also those that the classes start at zero or one, so that a part that is
lost or swapped shows. A level has one layer, which on the way up makes two, where the public models
have two: to trace and compile is what the tests take their time for. Where layers are numbered, one
test of a layout asks for two.
"""

import numpy as np
import pytest

from vldm_jax.core import paths

REASON = "compares with the public PyTorch classes: pip install -e .[test]"
torch = pytest.importorskip("torch", reason=REASON)
diffusers = pytest.importorskip("diffusers", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)

torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()

CONTEXT = 24
# What makes a U-Net half as large, where levels do not matter; sd2 takes one number of heads then.
ONE_LEVEL = {
    "block_out_channels": (32,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
}
TOLERANCE = 1e-4  # of the output's standard deviation


def randomised(module, seed=0):
    """Return the module with all parameters drawn, norms' scales around one, in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    norms = {
        id(part.weight)
        for part in module.modules()
        if isinstance(part, torch.nn.GroupNorm | torch.nn.LayerNorm)
    }
    with torch.no_grad():
        for parameter in module.parameters():
            spread = 1.0 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * spread)
            if id(parameter) in norms:
                parameter += 1.0
    return module.eval()


def sd1(**changes):
    """A U-Net as Stable Diffusion 1.x: convolutions as projections, 8 heads a level."""
    return _unet(**{"attention_head_dim": 8, "use_linear_projection": False, **changes})


def sd2(**changes):
    """As Stable Diffusion 2.x: linear projections, heads of one width."""
    return _unet(**{"attention_head_dim": (2, 4), "use_linear_projection": True, **changes})


def _unet(**fields):
    return randomised(
        diffusers.UNet2DConditionModel(
            **{
                "block_out_channels": (32, 64),
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "cross_attention_dim": CONTEXT,
                "layers_per_block": 1,
                **fields,
            }
        )
    )


def upscaler():
    """As the x4 upscaler: seven input channels, noise level as class, attn1 on the context."""
    return _unet(
        in_channels=7,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        only_cross_attention=(True, True),
        use_linear_projection=True,
        num_class_embeds=10,
    )


def svd(**changes):
    """As Stable Video Diffusion's U-Net."""
    return randomised(
        diffusers.UNetSpatioTemporalConditionModel(
            **{
                "block_out_channels": (32, 64),
                "down_block_types": (
                    "CrossAttnDownBlockSpatioTemporal",
                    "DownBlockSpatioTemporal",
                ),
                "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
                "num_attention_heads": (2, 4),
                "cross_attention_dim": CONTEXT,
                "layers_per_block": 1,
                **changes,
            }
        )
    )


def autoencoder(levels=2, **changes):
    """As Stable Diffusion's autoencoder."""
    return randomised(
        diffusers.AutoencoderKL(
            **{
                "block_out_channels": (32, 64, 64)[:levels],
                "down_block_types": ("DownEncoderBlock2D",) * levels,
                "up_block_types": ("UpDecoderBlock2D",) * levels,
                "layers_per_block": 1,
                **changes,
            }
        )
    )


def temporal_autoencoder():
    """As Stable Video Diffusion's autoencoder."""
    return randomised(
        diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            layers_per_block=2,  # also of its middle, which has two in what was published
        )
    )


def text_encoder(activation="quick_gelu", layers=2):
    """As CLIP's text encoder."""
    config = transformers.CLIPTextConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=1,
        hidden_act=activation,
        vocab_size=99,
        max_position_embeddings=11,
        bos_token_id=97,
        eos_token_id=98,
    )
    return randomised(transformers.CLIPTextModel(config))


def motion_adapter(*, middle, max_frames, layers=1, block_out_channels=(32, 64)):
    """AnimateDiff's motion modules for `sd1`, `layers` a level going down."""
    return randomised(
        diffusers.MotionAdapter(
            block_out_channels=block_out_channels,
            motion_layers_per_block=layers,
            motion_num_attention_heads=8,
            use_motion_mid_block=middle,
            motion_max_seq_length=max_frames,
        ),
        seed=1,
    )


class Inputs:
    """Inputs of every kind, channels last, from one seed."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.time = np.array([3.0, 700.0], np.float32)
        self.context = rng.standard_normal((2, 5, CONTEXT), np.float32)
        self.z = rng.standard_normal((2, 8, 12, 4), np.float32)
        self.z7 = rng.standard_normal((2, 8, 12, 7), np.float32)
        self.levels = np.array([3, 9])
        self.video = rng.standard_normal((2, 3, 8, 12, 4), np.float32)
        self.video8 = rng.standard_normal((2, 3, 8, 12, 8), np.float32)
        self.time_ids = np.array([[5, 127, 0.02], [6, 1, 0.3]], np.float32)
        self.x = rng.uniform(-1, 1, (2, 16, 8, 3)).astype(np.float32)
        self.tokens = rng.integers(0, 97, (2, 11)).astype(np.int32)


INPUTS = Inputs()


def first(array):
    """Channels last to channels first, as a torch tensor: images, or videos frame by frame."""
    return torch.from_numpy(np.moveaxis(array, -1, -3).copy())


def last(tensor):
    """Channels first to channels last, as NumPy."""
    return np.moveaxis(tensor.detach().numpy(), -3, -1)


def run_unet(model, **changes):
    """Prediction of an image U-Net for `INPUTS`."""
    z = INPUTS.z7 if model.config.in_channels == 7 else INPUTS.z
    if model.config.num_class_embeds:
        changes["class_labels"] = torch.from_numpy(INPUTS.levels)
    with torch.no_grad():
        time, context = torch.from_numpy(INPUTS.time), torch.from_numpy(INPUTS.context)
        return last(model(first(z), time, context, **changes).sample)


def run_svd(model):
    """Prediction of a video U-Net for `INPUTS`."""
    with torch.no_grad():
        out = model(
            first(INPUTS.video8),
            torch.from_numpy(INPUTS.time),
            torch.from_numpy(INPUTS.context),
            added_time_ids=torch.from_numpy(INPUTS.time_ids),
        )
    return last(out.sample)


def run_motion(unet, adapter):
    """Prediction of an image U-Net with motion modules for `INPUTS`."""
    return run_motion_unet(diffusers.UNetMotionModel.from_unet2d(unet, adapter).eval())


def run_motion_unet(model):
    """Prediction of a whole U-Net with motion modules for `INPUTS`."""
    frames = INPUTS.video.shape[1]
    with torch.no_grad():
        out = model(
            first(INPUTS.video).transpose(1, 2),
            torch.from_numpy(INPUTS.time),
            torch.from_numpy(INPUTS.context).repeat_interleave(frames, 0),
        )
    return last(out.sample.transpose(1, 2))


def run_encode(model):
    """Mean and log-variance of images."""
    with torch.no_grad():
        posterior = model.encode(first(INPUTS.x)).latent_dist
    return last(posterior.mean), last(posterior.logvar)


def run_decode(model):
    """Images of the latents `INPUTS.z`."""
    with torch.no_grad():
        return last(model.decode(first(INPUTS.z)).sample)


def run_decode_video(model):
    """Videos of the latents `INPUTS.video`."""
    latents = first(INPUTS.video)
    with torch.no_grad():
        out = model.decode(latents.flatten(0, 1), num_frames=latents.shape[1]).sample
    return last(out.unflatten(0, latents.shape[:2]))


def run_text(model):
    """Hidden states of `INPUTS.tokens`."""
    with torch.no_grad():
        return model(torch.from_numpy(INPUTS.tokens)).last_hidden_state.numpy()


def call_unet(net):
    """Our prediction for the same inputs as `run_unet`."""
    if net.fields["num_classes"]:
        return net(INPUTS.z7, INPUTS.time, INPUTS.context, class_labels=INPUTS.levels)
    return net(INPUTS.z, INPUTS.time, INPUTS.context)


def call_svd(net):
    """Our prediction for the same inputs as `run_svd`."""
    return net(INPUTS.video8, INPUTS.time, INPUTS.context, added_time_ids=INPUTS.time_ids)


def difference(ours, theirs):
    """Largest absolute difference in units of the reference's standard deviation."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all() and theirs.std() > 0.05
    return float(np.abs(ours - theirs).max() / theirs.std())


def assert_equal(ours, theirs):
    """The issue's bound for one forward pass in float32."""
    assert difference(ours, theirs) <= TOLERANCE


def assert_same_params(net, other):
    """Both networks have the same parameters in the same types, bit by bit."""
    ours, theirs = paths.flatten(net.params), paths.flatten(other.params)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        assert leaf.dtype == theirs[path].dtype, path
        np.testing.assert_array_equal(leaf, theirs[path], path)


def assert_same_network(net, other):
    """Both are one function without a pass of either, which would have to be compiled."""
    assert (net.kind, net.fields) == (other.kind, other.fields)
    assert_same_params(net, other)
