"""One part of a stack after the other; what is there already is not made again.

    OUT/latents/KEYS/000000.npy ...       pieces of each part (`reel`)
    OUT/0000.mp4                          one a future
    OUT/preview.mp4                       key frames, as soon as they are there, if asked for
    OUT/contact_sheet.png, metadata.json

A part's parameters are read when its turn comes and forgotten when it is over.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vldm_jax
from vldm_jax.core.files import write_json
from vldm_jax.core.progress import Progress
from vldm_jax.core.words import counted
from vldm_jax.data.write import write_contact_sheet, write_video
from vldm_jax.stack.between import put_between
from vldm_jax.stack.keyframes import make_key_frames
from vldm_jax.stack.pixels import Decoder, write_film
from vldm_jax.stack.plan import Part, StackPlan, about, read
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.stages.samples import METADATA, begin
from vldm_jax.typing import PyTree

SHOWN = 8  # frames of a future on the contact sheet


def run_stack(plan: StackPlan, request: Request, out: Path, *, preview: bool) -> dict[str, Any]:
    """Write the videos of a request; return their metadata.

    Args:
        plan: of the stack, or of the parts that are to run.
        request: what is asked for.
        out: folder, new, or of the very same video that was not finished.
        preview: whether key frames are written as a video of their own before the rest is made.

    Raises:
        InputError: if the folder holds anything else, or a frame is not finite.
    """
    told = {
        "version": vldm_jax.__version__,
        "complete": False,
        "seed": request.seed,
        "labels": dict(request.labels),
        **({} if request.boxes is None else {"boxes": request.boxes}),
        "context_frames": 0 if request.context is None else len(request.context),
        "futures": request.futures,
        "fps": plan.fps,
        "frames": plan.frames,
        "parts": about(plan),
    }
    request.check(plan)
    out.mkdir(parents=True, exist_ok=True)
    begin(out, told)
    took: dict[str, float] = {}
    reel = _timed(took, plan.prediction.name, _key_frames, plan, request, out)
    if preview:
        _timed(took, "preview", _preview, plan, reel, out)
    reel = _between(plan, request, reel, out, took)
    _timed(took, "pixels", _films, plan, request, reel, out)
    told = {**told, "complete": True}
    write_json(out / METADATA, told)
    _say(plan, request, out, took)
    return told


def _timed(took: dict[str, float], name: str, call: Any, *args: Any) -> Any:
    start = time.monotonic()
    result = call(*args)
    took[name] = time.monotonic() - start
    return result


def _reel(out: Path, part: Part) -> Reel:
    return Reel(out / "latents" / part.name.replace(" ", "_"))


@contextlib.contextmanager
def _progress(total: int, done: int, name: str) -> Iterator[Callable[[int], None]]:
    """Yield what is told how many frames there are."""
    before = done
    with Progress(name, total, "frame", done=done, leave=True) as progress:

        def said(count: int) -> None:
            nonlocal before
            progress.update(count - before)
            before = count

        yield said


def _key_frames(plan: StackPlan, request: Request, out: Path) -> Reel:
    reel = _reel(out, plan.prediction)
    with _progress(plan.key_frames, len(reel), plan.prediction.name) as said:
        make_key_frames(plan, request, reel, said)
    return reel


def _between(
    plan: StackPlan, request: Request, coarse: Reel, out: Path, took: dict[str, float]
) -> Reel:
    params, weights = None, None
    for number, part in enumerate(plan.rounds, 1):
        fine, total = _reel(out, part), plan.frames_after(number)
        if len(fine) < total:
            if weights != part.weights:  # rounds of one model share them
                params, weights = read(part)[0], part.weights
            start = time.monotonic()
            with _progress(total, len(fine), part.name) as said:
                put_between(part, params, request, coarse, fine, said)
            took[part.name] = time.monotonic() - start
        coarse.forget()
        coarse = fine
    return coarse


def _decoder(plan: StackPlan) -> Decoder:
    space = plan.prediction.stage.space
    given: PyTree = space.given()
    return Decoder(space.decode, given, space.parts)


def _preview(plan: StackPlan, reel: Reel, out: Path) -> None:
    path = out / "preview.mp4"
    if not path.exists():
        frames = _decoder(plan).frames(reel, 0, 0, len(reel))
        write_video(path, frames, plan.key_fps)
    print(f"{path}: the key frames, {plan.key_fps:g} a second", flush=True)


def _films(plan: StackPlan, request: Request, reel: Reel, out: Path) -> None:
    decoder, rows = _decoder(plan), []
    total = plan.frames * request.futures
    with _progress(total, 0, "pixels") as said:
        for future in range(request.futures):
            path, before = out / f"{future:04}.mp4", future * plan.frames
            written = functools.partial(_after, said, before)
            write_film(decoder, reel, future, plan.frames, plan.fps, path, written)
            shown = np.linspace(0, plan.frames - 1, min(SHOWN, plan.frames)).astype(int)
            rows.append(
                np.concatenate([decoder.frames(reel, future, int(i), int(i) + 1) for i in shown])
            )
            said(before + plan.frames)
    asked = request.of(plan.prediction, request.futures)
    lines = plan.prediction.stage.captions(asked) or [""] * request.futures
    captions = [f"{number:04}  {line}" for number, line in enumerate(lines)]
    write_contact_sheet(out / "contact_sheet.png", rows, captions)


def _after(said: Callable[[int], None], before: int, count: int) -> None:
    said(before + count)


def _say(plan: StackPlan, request: Request, out: Path, took: dict[str, float]) -> None:
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    length = f"{plan.frames} frames, {plan.frames / plan.fps:.1f} s at {plan.fps:g} fps"
    print(f"{out}: {counted(request.futures, 'video')} of {length} ({parts})")
