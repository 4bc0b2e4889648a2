"""A world of small stages: weights files made by the stages themselves, untrained."""

from pathlib import Path

import jax
import numpy as np

from vldm_jax.cli.flags import load_config
from vldm_jax.core import paths
from vldm_jax.stages.plan import make_plan

CONFIGS = Path(__file__).parents[2] / "configs"
HEIGHT, WIDTH, FRAMES = 8, 8, 3
NETWORK = {
    "channels": (8,), "attention": (True,), "layers_per_level": 1, "norm_groups": 4,
    "head_dim": 4, "context_dim": 8, "out_channels": 4,
}  # fmt: skip
AUTOENCODER = {"base": 4, "mult": (1, 1), "latent_channels": 4, "norm_groups": 4}
UPSAMPLER = NETWORK | {"attention": (False,), "out_channels": 48}
del UPSAMPLER["context_dim"]
DISCRIMINATOR = {"base": 4, "time_strides": (1,), "norm_groups": 2}
DETECTOR = {"widths": (8, 8), "blocks": 1, "head": 8, "norm_groups": 4}
EVERYTHING = (("^autoencoder/", "frozen"), ("", "all"))
DATA = {"height": HEIGHT, "width": WIDTH, "path": ".", "cache": None}


class Clips:
    """A source of random clips, or of images where `num_frames` is 1; no labels are known."""

    report = "random clips"
    video = np.arange(8)

    def __init__(self, num_frames=1, label_names=("night", "cars"), fps=7.5):
        self.num_frames, self.label_names, self.fps = num_frames, label_names, fps
        self.unknown = {"labels": ()}

    def __len__(self):
        return 8

    def __getitem__(self, key):
        rng = np.random.default_rng(int(key))
        video = rng.integers(0, 256, (self.num_frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
        content = {"image": video[0]} if self.num_frames == 1 else {"video": video}
        labels = np.array([key % 2, key], np.float32)[: len(self.label_names)]
        return content | {"labels": labels, "fps": np.float32(self.fps), "key": np.int32(key)}

    def describe(self, key):
        return f"clip {key}"


def random_clips(path, *, num_frames, fps, **rest):
    """Make `Clips` for a config: a kind of data from outside."""
    return Clips(num_frames, fps=fps)


def overridden(**sections):
    """Return nested sections as words that override a config."""
    flat = {k.replace("/", "."): v for k, v in paths.flatten(sections).items()}
    return [f"--config.{key}={value}" for key, value in flat.items()]


def small_words(name):
    """Return what makes a tiny driving config one of the small networks."""
    words = overridden(data=DATA, train={"batch_size": 4, "total_steps": 2})
    words += overridden(optim={"schedule": "constant", "warmup_steps": 0})
    if name == "autoencoder":
        words += overridden(model={"network": AUTOENCODER}, objective={"perceptual_weight": 0.0})
    elif name == "decoder":
        model = {"network": AUTOENCODER, "discriminator": DISCRIMINATOR}
        words += overridden(model=model, objective={"perceptual_weight": 0.0})
    elif name == "detector":
        model = {"network": DETECTOR, "autoencoder": None}
        words += overridden(model=model, objective={"reconstructed": 0.0})
    elif name == "upsampler":
        words += overridden(model={"network": UPSAMPLER}, objective={"patch": 16})
        words += overridden(sampling={"steps": 2, "num_videos": 2})
    else:
        words += overridden(model={"network": NETWORK}, sampling={"steps": 2, "num_videos": 2})
    if name in ("video", "decoder"):
        words += overridden(data={"num_frames": FRAMES})
    return words


def config_of(name, **sections):
    """Return a tiny driving config of the small networks, with more overrides by section."""
    words = [*small_words(name), *overridden(**sections)]
    return load_config(f"{CONFIGS / 'driving' / name}.py:tiny", words)


def with_everything_trained(config):
    with config.unlocked():
        config.train.rules, config.train.groups = EVERYTHING, {"all": (1.0, 1.0)}
    return config


def random_params(shapes, seed=0):
    """Fill a tree of shapes with small random numbers: what training may have made, at no cost."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: 0.2 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


def leave(config, path, *, source=None, steps=0, seed=0):
    """Write what the stage of a config leaves behind; the frozen part is its files'."""
    plan = make_plan(config)
    tree = random_params(plan.stage.shapes(), seed)
    if "backbone" in config.model and config.model.backbone is not None:
        backbone = paths.flatten(plan.stage.files["backbone"].read())
        network = paths.flatten(tree["network"]) | {k: np.float32(v) for k, v in backbone.items()}
        tree["network"] = paths.unflatten(network)
    source = source or Clips(config.data.num_frames)
    plan.stage.export(Path(path), tree | plan.stage.given(), plan.trained, steps, source)
