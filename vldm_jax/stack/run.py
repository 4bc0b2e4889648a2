"""One part of a stack after the other; what is there already is not made again.

    OUT/latents/KEYS/000000.npy ...       pieces of each part (`reel`)
    OUT/frames/000000.npy ...             pixels on their way to an upsampler
    OUT/preview.mp4                       key frames, as soon as they are there, if asked for
    OUT/0000.mp4                          one a future; of a stack that ends early 0000.PART.mp4
    OUT/contact_sheet.png, metadata.json

A part's parameters are read when its turn comes and forgotten when it is over.
"""

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vldm_jax
from vldm_jax.core.files import write_json
from vldm_jax.core.progress import Progress
from vldm_jax.core.words import counted
from vldm_jax.data.write import write_contact_sheet
from vldm_jax.stack.between import put_between
from vldm_jax.stack.enlarge import Enlarger, keep_frames
from vldm_jax.stack.film import Frames, shown, write_film
from vldm_jax.stack.keyframes import make_key_frames
from vldm_jax.stack.pixels import decoder_of
from vldm_jax.stack.plan import Part, StackPlan, about, read
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.stages.begun import METADATA, begin


def run_stack(
    plan: StackPlan, request: Request, out: Path, *, until: str | None = None, preview: bool = False
) -> dict[str, Any]:
    """Write the videos of a request of one beginning; return their metadata.

    Args:
        plan: of the stack.
        request: what is asked for.
        out: folder, new, or of the very same video that was not finished.
        until: name of the last part that is to run; a later call goes on.
        preview: whether key frames are written as a video of their own before the rest is made.

    Raises:
        InputError: if the folder holds anything else, or a frame is not finite.
    """
    cut = plan.until(until)
    request.check(plan)  # before files are hashed
    told = {
        "version": vldm_jax.__version__,
        "complete": False,
        "seed": request.seed,
        "labels": dict(*request.labels),
        **({} if request.boxes is None else {"boxes": request.boxes}),
        "context": _about_context(request),
        "futures": request.futures,
        "fps": plan.fps,
        "frames": plan.frames,
        "parts": about(plan),
    }
    begin(out, told)
    print(f"{out}: {_length(cut, request)}; stopped, the same command goes on", flush=True)
    print("".join(f"{line}\n" for line in request.untaught(plan)), end="", flush=True)
    took: dict[str, float] = {}
    keys = _timed(took, cut.prediction.name, _key_frames, cut, request, out)
    if preview:
        _timed(took, "preview", _preview, cut, keys, out)
    reel = _between(cut, request, keys, out, took)
    last = None if cut.parts[-1] is plan.parts[-1] else cut.parts[-1].name
    _timed(took, "pixels", _films, cut, request, reel, out, last)
    whole = (out / f"{video:04}.mp4" for video in range(request.count))
    told = {**told, "complete": all(path.exists() for path in whole)}
    write_json(out / METADATA, told)
    _say(cut, request, out, took)
    return told


def _about_context(request: Request) -> dict[str, Any] | None:
    if request.context is None:
        return None
    pixels = np.ascontiguousarray(request.context)
    return {"frames": len(pixels), "sha256": hashlib.sha256(pixels).hexdigest()}


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
        progress.note("compiling")

        def said(count: int) -> None:
            nonlocal before
            progress.note("")
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


def _preview(plan: StackPlan, reel: Reel, out: Path) -> None:
    path = out / "preview.mp4"
    if not path.exists():
        decoder = decoder_of(plan.until(plan.prediction.name))
        write_film(
            lambda start: decoder.stream(reel, 0, start, len(reel)), len(reel), plan.key_fps, path,
            lambda count: None,
        )  # fmt: skip
    print(f"{path}: the key frames, {plan.key_fps:g} a second", flush=True)


def stack_film(
    plan: StackPlan, request: Request, out: Path
) -> Callable[[int, int], Iterator[Frames]]:
    """Make what is asked for up to its pixels; return what gives those, as `_film`.

    Args:
        plan: of the stack.
        request: what is asked for, of any number of beginnings.
        out: folder of the pieces of each part.
    """
    reel = _between(plan, request, _key_frames(plan, request, out), out, {})
    return _film(plan, request, reel, out)


def _films(plan: StackPlan, request: Request, reel: Reel, out: Path, last: str | None) -> None:
    """Write a video a future, and their contact sheet."""
    ending = ".mp4" if last is None else f".{last.replace(' ', '_')}.mp4"
    paths = [out / f"{video:04}{ending}" for video in range(request.count)]
    if not all(path.exists() for path in paths):
        film = _film(plan, request, reel, out)
        done = plan.frames * sum(path.exists() for path in paths)
        with _progress(plan.frames * request.count, done, "video") as said:
            for video, path in enumerate(paths):
                before = video * plan.frames
                write_film(
                    functools.partial(film, video), plan.frames, plan.fps, path,
                    functools.partial(_after, said, before),
                )  # fmt: skip
                said(before + plan.frames)
    asked = request.of(plan.prediction, range(request.count))
    lines = plan.prediction.stage.captions(asked) or [""] * request.count
    captions = [f"{number:04}  {line}" for number, line in enumerate(lines)]
    write_contact_sheet(out / "contact_sheet.png", [shown(path) for path in paths], captions)


def _film(
    plan: StackPlan, request: Request, reel: Reel, out: Path
) -> Callable[[int, int], Iterator[Frames]]:
    """Return what gives a video's frames from a number on: decoded, or upsampled as well."""
    if plan.upsampler is None:
        decoder = decoder_of(plan)
        return lambda video, start: decoder.stream(reel, video, start, plan.frames)
    frames = Reel(out / "frames")
    with _progress(plan.frames, len(frames), "pixels") as said:
        if len(frames) < plan.frames:
            keep_frames(decoder_of(plan), reel, frames, plan.frames, said)
    reel.forget()
    return Enlarger(plan.upsampler, request, frames).stream


def _after(said: Callable[[int], None], before: int, count: int) -> None:
    said(before + count)


def _say(plan: StackPlan, request: Request, out: Path, took: dict[str, float]) -> None:
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    print(f"{out}: {_length(plan, request)} ({parts})")


def _length(plan: StackPlan, request: Request) -> str:
    length = f"{plan.frames} frames, {plan.frames / plan.fps:.1f} s at {plan.fps:g} fps"
    return f"{counted(request.futures, 'video')} of {length}"
