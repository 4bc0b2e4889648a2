"""Short videos of a stack as clips to be compared: as many as an evaluation wants.

Some are made at once, and each is a file as soon as its frames are there: a second start in the
same folder goes on. What lies between the parts is removed then.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vldm_jax
from vldm_jax.core.arrays import save_array
from vldm_jax.core.files import atomic_path, write_json
from vldm_jax.evals.clips import ClipSet
from vldm_jax.stack.plan import StackPlan, about
from vldm_jax.stack.request import Request
from vldm_jax.stack.run import stack_film
from vldm_jax.stages.begun import METADATA, begin

TOGETHER = 8  # videos that are made at once


def stack_clips(
    plan: StackPlan, labels: Sequence[Mapping[str, float]], seed: int, folder: Path
) -> tuple[ClipSet, dict[str, Any]]:
    """Return videos of a stack that a folder keeps, and what made them; makes the missing ones.

    Args:
        plan: of the stack, as long as a clip.
        labels: of each clip {name: value}.
        seed: of all that is drawn.
        folder: new, or of the very same clips.

    Raises:
        InputError: if the folder holds anything else, a part takes no such label, or a frame is not
            finite.
    """
    rows = [{name: float(value) for name, value in one.items()} for one in labels]
    everything = Request(labels=tuple(rows), context=None, futures=1, seed=seed)
    everything.check(plan)  # before files are hashed
    made_with = {"seed": seed, "fps": plan.fps, "frames": plan.frames, "parts": about(plan)}
    told = {"version": vldm_jax.__version__, "complete": False, "labels": rows, **made_with}
    begin(folder, told)
    files = [folder / f"{number:06}.npy" for number in range(len(rows))]
    for first in range(0, len(rows), TOGETHER):
        some = tuple(rows[first : first + TOGETHER])
        request = Request(labels=some, context=None, futures=1, seed=seed, first=first)
        _write(plan, request, folder / f"{first:06}", files[first : first + TOGETHER])
    write_json(folder / METADATA, {**told, "complete": True})
    clips = ClipSet(
        read=lambda i: np.load(files[i], mmap_mode="r"), describe=lambda i: f"sample {i}",
        count=len(files), fps=plan.fps, shape=np.load(files[0], mmap_mode="r").shape[:3],
    )  # fmt: skip
    return clips, made_with


def _write(plan: StackPlan, request: Request, pieces: Path, files: Sequence[Path]) -> None:
    """Write the frames of the videos that are missing."""
    if not all(file.exists() for file in files):
        film = stack_film(plan, request, pieces)
        for video, file in enumerate(files):
            frames = np.concatenate(list(film(video, 0)))[: plan.frames]
            with atomic_path(file) as temporary:
                save_array(temporary, frames)
    shutil.rmtree(pieces, ignore_errors=True)
