"""What temporal alignment is, in one dimension: independent samples become a smooth path.

    python benchmarks/alignment_picture.py [--out docs/images/alignment]

An image is one number, drawn from three bumps; a video is a smooth path whose every frame has that
distribution. A diffusion model learns the numbers; then it is frozen, temporal layers are inserted
and trained on paths. Both start from the same noise: before, a batch of independent samples, after,
a video. OUT.png shows how each frame comes out of noise and the path that the frames make, OUT.mp4
the same while it happens. Everything is the project's own: U-Net, temporal layers, noise schedule,
loss, training step, solver.

After the picture of the idea in Align your Latents, arXiv:2304.08818, Fig. 2.
"""

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.special import ndtr

from vldm_jax.core import paths
from vldm_jax.data.write import write_video
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.losses import Diffusion
from vldm_jax.diffusion.schedules import LinearSchedule
from vldm_jax.models.table import init_params
from vldm_jax.models.unet import UNet
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.sampling.grids import trailing
from vldm_jax.sampling.loop import make_table, start
from vldm_jax.sampling.solvers.ddim import DDIM
from vldm_jax.stages.denoising_loss import denoising_loss
from vldm_jax.training.optimiser import make_optimiser, make_schedule
from vldm_jax.training.state import create_state, split_params
from vldm_jax.training.step import compile_step, make_step

FRAMES, STEPS, SMOOTH = 32, 40, 5.0  # of a path, of the solver, frames over which a path turns
BUMPS = ((0.45, -1.3, 0.22), (0.3, 0.25, 0.16), (0.25, 1.4, 0.2))  # weight, middle, deviation
DIFFUSION = Diffusion(schedule=LinearSchedule(), target="v")
SIZE = {
    "channels": (48,), "attention": (True,), "head_dim": 16, "layers_per_level": 1,
    "out_channels": 1, "norm_groups": 4,
}  # fmt: skip
EVERYTHING, TEMPORAL = (("", "all"),), (("temporal", "all"), ("", "frozen"))


def density(x: np.ndarray) -> np.ndarray:
    """Return p(x) of one number."""
    return sum(
        w * np.exp(-(((x - m) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi)) for w, m, s in BUMPS
    )


def draw_paths(rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
    """Return smooth paths (b t), each frame distributed as p: a Gaussian path through quantiles."""
    t = np.arange(frames)
    covariance = np.exp(-(((t[:, None] - t) / SMOOTH) ** 2) / 2) + 1e-6 * np.eye(frames)
    smooth = rng.normal(size=(count, frames)) @ np.linalg.cholesky(covariance).T
    grid = np.linspace(-3, 3, 4001)
    cumulative = np.cumsum(density(grid))
    return np.interp(ndtr(smooth), cumulative / cumulative[-1], grid)


@dataclasses.dataclass(frozen=True, eq=False)
class Toy:
    """An objective: the denoising loss of numbers or paths, as every stage has it."""

    network: UNet
    needs: tuple[str, ...] = ("x",)

    def loss(self, params: Any, batch: Any, key: Any, step: Any) -> tuple[Any, dict[str, Any]]:
        """Return the loss of a batch x (b ... 1 1 1)."""
        return denoising_loss(self.predict, DIFFUSION, params, batch["x"], {}, key)

    def predict(self, params: Any, z: Any, time: Any, cond: Any, key: Any = None) -> Any:
        """Return the network's prediction."""
        return self.network.apply({"params": params}, z, time, cond, train=False)


def train(toy: Toy, params: Any, rules: Any, batches: Any, steps: int, lr: float) -> Any:
    """Return the parameters after training those that the rules train."""
    schedule = make_schedule(lr=lr, warmup_steps=50, schedule="cosine", total_steps=steps)
    groups = {"all": (1.0, 1.0)}
    tx = make_optimiser(rules=rules, groups=groups, learning_rate=schedule)
    trained, frozen = split_params(params, rules)
    state = create_state(trained, tx)
    update = make_step(toy, tx, learning_rate=schedule, ema_decay=0.995)
    step, key = compile_step(update, state), jax.random.key(0)
    for _ in range(steps):
        state, _ = step(state, frozen, {"x": jnp.asarray(next(batches), jnp.float32)}, key)
    return paths.merge(jax.device_get(state.ema), frozen)


def denoise(toy: Toy, params: Any, noise: jax.Array) -> np.ndarray:
    """Return z as variance-preserving numbers at every stop of the solver, (stops, b ...)."""
    grid = trailing(DIFFUSION.schedule, STEPS)
    predict = functools.partial(_told, toy, params)
    x0_of, solver = make_denoiser(predict, DIFFUSION.schedule, DIFFUSION.target), DDIM(eta=0.0)

    @jax.jit
    def run(noise: jax.Array) -> jax.Array:
        x = start(noise, grid)

        def body(carry: Any, row: Any) -> tuple[Any, jax.Array]:
            x, memory = carry
            x, _, memory = solver.step(x0_of, x, row, memory)
            return (x, memory), x

        table = make_table(solver, grid, jax.random.key(1))
        _, stops = jax.lax.scan(body, (x, solver.start(x)), table)
        return jnp.concatenate([x[None], stops])

    scale = 1 / np.sqrt(1 + np.square(grid))
    return np.asarray(run(noise)) * scale.reshape(-1, *[1] * noise.ndim)


def _told(toy: Toy, params: Any, z: jax.Array, time: jax.Array) -> jax.Array:
    return toy.predict(params, z, time, {})


def make_both(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z of the frames (stops t) before and after temporal alignment."""
    rng = np.random.default_rng(0)
    image, video = Toy(UNet(**SIZE)), Toy(UNet(**SIZE, temporal=TemporalSpec(positions="relative")))

    def numbers() -> Any:
        while True:
            yield draw_paths(rng, 1024, 1).reshape(1024, 1, 1, 1)

    def videos() -> Any:
        while True:
            yield draw_paths(rng, 64, FRAMES).reshape(64, FRAMES, 1, 1, 1)

    key = jax.random.key(2)
    params = init_params(image.network, key, *image.network.smallest_inputs(1))
    params = train(image, params, EVERYTHING, numbers(), steps, 2e-3)
    fresh = init_params(video.network, key, *video.network.smallest_inputs(1))
    inserted = paths.merge(params, paths.select(fresh, lambda path: "temporal" in path))
    aligned = train(video, inserted, TEMPORAL, videos(), steps, 2e-3)
    noise = jax.random.normal(jax.random.key(5), (FRAMES, 1, 1, 1))
    before = denoise(image, params, noise)
    after = denoise(video, aligned, noise[None])
    return before.reshape(-1, FRAMES), after.reshape(-1, FRAMES)


# The picture.

WIDTH, HEIGHT, ROW, LEFT, GAP, FINE = 960, 600, 230, 50, 40, 2
LOW, HIGH = -2.9, 2.9
INK, PALE = (40, 40, 40), (120, 120, 120)
TITLES = (
    "before: the image model, a batch of samples",
    "after: with temporal layers, a video",
)


def draw(before: np.ndarray, after: np.ndarray, stop: int) -> Image.Image:
    """Return the picture when the solver has come to a stop."""
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), "white")
    page, font = ImageDraw.Draw(image), ImageFont.load_default(15 * FINE)
    width = (WIDTH - LEFT - 2 * GAP) // 2
    for column, (z, title) in enumerate(zip((before, after), TITLES, strict=True)):
        left = LEFT + column * (width + GAP)
        page.text((left * FINE, 12 * FINE), title, INK, font)
        for top, texts in ((42, ("noise", "samples")), (322, ("first frame", "last frame"))):
            _shade(page, left, top, width)
            page.text((left * FINE, (top + ROW + 4) * FINE), texts[0], PALE, font)
            end = page.textlength(texts[1], font)
            page.text(((left + width) * FINE - end, (top + ROW + 4) * FINE), texts[1], PALE, font)
        _lines(page, z, stop, left, 42, width)
        _path(page, z[stop], left, 322, width)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _shade(page: ImageDraw.ImageDraw, left: int, top: int, width: int) -> None:
    """The distribution of one number as a shade behind."""
    x = np.linspace(HIGH, LOW, ROW * FINE)
    p = density(x) / density(x).max()
    for y, share in enumerate(p):
        shade = int(250 - 45 * share)
        row = top * FINE + y
        page.line(
            (left * FINE, row, (left + width) * FINE, row), (shade, shade, min(shade + 8, 255))
        )


def _at(x: np.ndarray, top: int) -> np.ndarray:
    return (top + (HIGH - np.clip(x, LOW, HIGH)) / (HIGH - LOW) * ROW) * FINE


def _colour(frame: int) -> tuple[int, int, int]:
    """From blue, the first frame, over violet to orange, the last."""
    share = frame / (FRAMES - 1)
    ends = np.array([(35, 85, 180), (150, 60, 150), (235, 140, 30)], float)
    return tuple(int(np.interp(share, (0, 0.5, 1), ends[:, i])) for i in range(3))


def _lines(page: Any, z: np.ndarray, stop: int, left: int, top: int, width: int) -> None:
    """How each frame came out of noise."""
    across = (left + np.arange(len(z)) / (len(z) - 1) * width) * FINE
    for frame in range(FRAMES):
        points = list(zip(across[: stop + 1], _at(z[: stop + 1, frame], top), strict=True))
        if stop:
            page.line(points, _colour(frame), 2)
        _dot(page, points[-1], _colour(frame), 3)


def _path(page: Any, x: np.ndarray, left: int, top: int, width: int) -> None:
    """The frames in their order."""
    across = (left + 8 + np.arange(FRAMES) / (FRAMES - 1) * (width - 16)) * FINE
    points = list(zip(across, _at(x, top), strict=True))
    page.line(points, (170, 170, 170), 2)
    for frame, point in enumerate(points):
        _dot(page, point, _colour(frame), 4)


def _dot(page: Any, at: tuple[float, float], colour: Any, radius: int) -> None:
    r = radius * FINE
    page.ellipse((at[0] - r, at[1] - r, at[0] + r, at[1] + r), colour)


def main() -> None:
    """Train both models, write the picture and the video."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/alignment"))
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    args = parser.parse_args()
    before, after = make_both(args.steps)
    for name, z in (("before", before[-1]), ("after", after[-1])):
        step = np.abs(np.diff(z)).mean()
        print(f"{name}: from frame to frame {step:.3f} of a deviation {z.std():.3f}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(before, after, STEPS).save(args.out.with_suffix(".png"))
    stops = [0] * 8 + list(range(STEPS + 1)) + [STEPS] * 20
    frames = np.stack([np.asarray(draw(before, after, stop)) for stop in stops])
    write_video(args.out.with_suffix(".mp4"), frames, 15.0, crf=23)
    print(f"{args.out.with_suffix('.png')} and .mp4")


if __name__ == "__main__":
    main()
