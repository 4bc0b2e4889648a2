"""The parts of a stack as portable programs, which join without this project.

    first        video                               -> z
    keyframes    video, window, z, given             -> z of all frames of the window
    interpolate  video, round, gap, z                -> z of all frames of the gap, its ends too
    decode       z                                   -> frames
    upsample     video, frames                       -> frames of four times the height and width

What is drawn belongs to the numbers of video, window, round and gap, and to the seed, so programs
that are called as `run.py` calls the parts make the same video.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.conditions.frame_rate import FrameRate
from vldm_jax.core.files import atomic_path, check_new
from vldm_jax.export.exports import write_function
from vldm_jax.export.functions import Function, decoder_part, one
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.sampling.upsampling import LOW
from vldm_jax.sampling.windows import BETWEEN
from vldm_jax.stack.between import keys_of
from vldm_jax.stack.enlarge import key_of as upsampler_key
from vldm_jax.stack.joined import how_they_join
from vldm_jax.stack.keyframes import key_of
from vldm_jax.stack.plan import Part, StackPlan, about, read
from vldm_jax.stack.request import Request
from vldm_jax.stages.program import asked_inputs
from vldm_jax.stages.told_frames import window_of
from vldm_jax.typing import Array, PyTree

ASKED = "conditions.npz"  # beside a program: what it is asked for if nothing is said
FRAMES = 8  # decoded or upsampled in one call
MEANINGS = {
    "video": "numbers of the videos; what is drawn belongs to them",
    "window": "number of the window: 1 and that of its first frame, 0 if no frame is given",
    "round": "of interpolation, from 0",
    "gap": "number of the gap, that of the key frame it begins with",
    "given": "1 at the frames of z that are given, else 0",
    "frames": "low-resolution frames, bytes",
}


def write_programs(
    plan: StackPlan, seed: int, frames: int, out: str | Path, dtype: str | None
) -> tuple[str, ...]:
    """Write a folder with a program for each part, and how they join; return the parts' names.

    Args:
        plan: of the stack.
        seed: of all that is drawn.
        frames: that are decoded, or upsampled, in one call.
        out: folder, absent or empty.
        dtype: of the weights; None keeps theirs.

    Raises:
        InputError: if the folder holds something.
    """
    check_new(out)
    functions = stack_functions(plan, seed, frames)
    told = about(plan)
    parts = {part.model: part for part in plan.parts}
    with atomic_path(out) as whole:
        for name, function in functions.items():
            part = parts[name] if name in parts else None
            text = {"kind": "decoder"} if part is None else told[part.name]
            write_function(function(), whole / name, {**text, "seed": seed}, dtype)
            if part is not None and part.kind != "decoder":
                np.savez(whole / name / ASKED, **_asked(part))
        (whole / "README.md").write_text(how_they_join(plan, frames), encoding="utf-8")
    return tuple(functions)


def _asked(part: Part) -> dict[str, np.ndarray]:
    """Return what a part is asked for if nothing is said: no labels and no boxes are known."""
    anything = Request(labels=({},), context=None, futures=1, seed=0)
    names, _ = asked_inputs(part.stage)
    return {name: row for name, row in anything.of(part, [0]).items() if name in names}


def stack_functions(plan: StackPlan, seed: int, frames: int) -> dict[str, Callable[[], Function]]:
    """Return what makes the function of each part, by its name; parameters are read when called.

    Args:
        plan: of the stack.
        seed: of all that is drawn.
        frames: that are decoded, or upsampled, in one call.
    """
    made: dict[str, Callable[[], Function]] = {}
    if plan.first is not None:
        made[plan.first.model] = lambda: _first(plan.first, seed)
    made[plan.prediction.model] = lambda: _key_frames(plan.prediction, seed)
    for part in plan.rounds:
        if part.number == 0:  # all rounds of a model are one program
            made[part.model] = functools.partial(_between, part, seed)
    made["decode" if plan.decoder is None else plan.decoder.model] = lambda: _decode(plan, frames)
    if plan.upsampler is not None:
        made[plan.upsampler.model] = lambda: _upsample(plan, seed, frames)
    return made


def _first(part: Part, seed: int) -> Function:
    stage, sampler = part.stage, part.stage.sampler()

    def call(params: PyTree, video: Array, **asked: Array) -> Array:
        cond = {**asked, **stage.fixed(video.shape)}
        return sampler.latents(params, jax.random.key(seed), video, cond)

    return _function(part, call, {"video": one(jnp.int32)}, {"result": "z, b h w c"})


def _key_frames(part: Part, seed: int) -> Function:
    stage = part.stage
    sampler, key = stage.sampler(), key_of(seed)

    def call(params: PyTree, **named: Array) -> Array:
        def single(video: Array, number: Array, z: Array, given: Array, asked: Any) -> Array:
            cond = {**jax.tree.map(lambda a: a[None], asked), **stage.fixed((1,))}
            window = window_of(sampler, params, key, video[None], cond)
            return window(z[None], given[None] > 0, number)[0]

        own = [named.pop(name) for name in ("video", "window", "z", "given")]
        return jax.vmap(single)(*own, named)

    inputs = {
        "video": one(jnp.int32), "window": one(jnp.int32), "z": one(jnp.float32, *stage.shape),
        "given": one(jnp.float32, stage.shape[0]),
    }  # fmt: skip
    return _function(part, call, inputs, {"z": "latents of given frames, 0 at others"})


def _between(part: Part, seed: int) -> Function:
    stage = part.stage
    sampler, slowest = stage.sampler(), float(part.config.data.fps)
    inside = jnp.array([True, *[False] * BETWEEN, True])

    def call(params: PyTree, **named: Array) -> Array:
        def single(video: Array, round_: Array, gap: Array, z: Array, asked: Any) -> Array:
            (key,) = keys_of(part, seed, round_, video[None])
            cond = {**jax.tree.map(lambda a: a[None], asked), **stage.fixed((1,))}
            if FrameRate.key in cond:
                cond[FrameRate.key] = slowest * (BETWEEN + 1.0) ** round_[None]
            window = window_of(sampler, params, key, gap[None], cond)
            return window(z[None], inside[None], 0)[0]

        own = [named.pop(name) for name in ("video", "round", "gap", "z")]
        return jax.vmap(single)(*own, named)

    inputs = {name: one(jnp.int32) for name in ("video", "round", "gap")}
    inputs["z"] = one(jnp.float32, *stage.shape)
    return _function(part, call, inputs, {"z": "latents; first and last are given, others are 0"})


def _decode(plan: StackPlan, frames: int) -> Function:
    stage = plan.prediction.stage
    if plan.decoder is None:
        decode, params = stage.space.decode, stage.space.given()
    else:
        decode, params = plan.decoder.stage.sampler().decode, read(plan.decoder)[0]
    kept = {"autoencoder": decoder_part(params["autoencoder"])} if params else {}

    def call(params: PyTree, z: Array) -> Array:
        return to_uint8(decode(params, z))

    inputs = {"z": one(jnp.float32, frames, *stage.shape[1:])}
    return Function(call, kept, inputs, {"z": "latents", "result": "frames, b t h w 3, bytes"})


def _upsample(plan: StackPlan, seed: int, frames: int) -> Function:
    part, data = plan.upsampler, plan.prediction.config.data
    assert part is not None
    stage, maker = part.stage, part.stage.sampler()

    def call(params: PyTree, video: Array, frames: Array, **asked: Array) -> Array:
        cond = {**asked, **stage.fixed(video.shape), LOW: frames}
        return maker.frames(params, upsampler_key(part, seed), video, cond)[0]

    inputs = {"video": one(jnp.int32), "frames": one(jnp.uint8, frames, data.height, data.width, 3)}
    return _function(part, call, inputs, {"result": "frames, b t h w 3, bytes"})


def _function(
    part: Part,
    call: Callable[..., Array],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    meanings: Mapping[str, str],
) -> Function:
    """Return a function of a part, whose conditions are further inputs."""
    params, _ = read(part)
    asked, names = asked_inputs(part.stage)
    kept = {
        name: decoder_part(tree) if name == "autoencoder" else tree
        for name, tree in params.items()
        if name != "autoencoder" or "frames" in inputs  # others stay in latents
    }
    told = {"result": "z, b t h w c, with the given frames as they came", **MEANINGS}
    return Function(call, kept, {**inputs, **asked}, {**told, **names, **meanings})
