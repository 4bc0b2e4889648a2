"""The page beside a stack's programs: the lines that join them, for people who have only jax."""

from vldm_jax.sampling.windows import BETWEEN as NEW
from vldm_jax.stack.plan import CONTEXT, StackPlan

HEAD = """# A generation stack as programs

Each folder is a program with a page of its own; they run with jax alone. These lines join them as
`vldm sample` does, to a video of {seconds:g} s: {frames} frames at {fps:g} a second.

```python
import numpy as np
from vldm_jax.export import load_program  # or the lines of each program's page

SECONDS, FPS, PART = {seconds:g}, {fps:g}, {part}
video = np.zeros(1, np.int32)


def opened(name):
    # A program, and what it is asked for: change that as its page says.
    return load_program(name), dict(np.load(f"{{name}}/conditions.npz"))


def number(value, like=video):
    return np.full(len(like), value, np.int32)


"""
FIRST = """first, told = opened("{name}")
z = np.asarray(first(video=video, **told))[:, None]
"""
NOTHING = """z = np.zeros((1, 0, {shape}), np.float32)  # no frame is given
"""
KEYS = """(keyframes, told), length = opened("{name}"), {length}
count = round(SECONDS * FPS)
wanted = -(-(count - 1) // {between}) + 1
while z.shape[1] < wanted:
    known = min({context}, z.shape[1])
    start = z.shape[1] - known
    room = np.zeros((1, length - known, *z.shape[2:]), np.float32)
    given = np.float32(np.arange(length) < known)[None]
    made = keyframes(
        video=video, window=number(start + 1 if known else 0), given=given,
        z=np.concatenate([z[:, start:], room], axis=1), **told,
    )
    z = np.concatenate([z, np.asarray(made)[:, known:]], axis=1)
z = z[:, :wanted]
"""
BETWEEN = """between, told = opened("{name}")
for turn in range({rounds}):
    gaps = np.arange(z.shape[1] - 1, dtype=np.int32)
    ends = np.zeros((len(gaps), 5, *z.shape[2:]), np.float32)
    ends[:, 0], ends[:, -1] = z[0, :-1], z[0, 1:]
    rows = {{name: value.repeat(len(gaps), axis=0) for name, value in told.items()}}
    made = between(video=number(0, gaps), round=number(turn, gaps), gap=gaps, z=ends, **rows)
    z = np.concatenate([np.asarray(made)[:, :-1].reshape(1, -1, *z.shape[2:]), z[:, -1:]], axis=1)
"""
PIXELS = """decode = load_program("{name}")
whole = -(-count // PART) * PART
z = np.concatenate([z, z[:, -1:].repeat(whole, axis=1)], axis=1)[:, :whole]
frames = np.concatenate([decode(z=z[:, i : i + PART]) for i in range(0, whole, PART)], axis=1)
"""
LARGER = """upsample, told = opened("{name}")
large = [
    upsample(video=video, frames=frames[:, i : i + PART], **told) for i in range(0, whole, PART)
]
frames = np.concatenate(large, axis=1)
"""
TAIL = """frames = frames[:, :count]  # (1, t, height, width, 3) bytes
```

A decoder that sees frames around its own, and an upsampler, do not see past the {part} frames of a
call here: at its ends they differ from `vldm sample`. Export with as many `--frames` as the video
has, and nothing is cut.
"""


def how_they_join(plan: StackPlan, frames: int) -> str:
    """Return the page.

    Args:
        plan: of the stack.
        frames: that are decoded, or upsampled, in one call.
    """
    keys, shape = plan.prediction, plan.prediction.stage.shape
    text = HEAD.format(seconds=plan.seconds, frames=plan.frames, fps=plan.fps, part=frames)
    if plan.first is not None:
        text += FIRST.format(name=plan.first.model)
    else:
        text += NOTHING.format(shape=", ".join(map(str, shape[1:])))
    text += KEYS.format(
        name=keys.model, length=shape[0], context=CONTEXT, between=(NEW + 1) ** len(plan.rounds)
    )
    for model in dict.fromkeys(part.model for part in plan.rounds):
        rounds = sum(part.model == model for part in plan.rounds)
        text += BETWEEN.format(name=model, rounds=rounds)
    text += PIXELS.format(name="decode" if plan.decoder is None else plan.decoder.model)
    if plan.upsampler is not None:
        text += LARGER.format(name=plan.upsampler.model)
    return text + TAIL.format(part=frames)
