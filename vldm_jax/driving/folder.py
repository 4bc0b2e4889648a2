"""Clips as a plain folder: mp4 files, `labels.json`, `boxes.npz`. Rendered by several processes.

`labels.json` is the layout by which any folder of videos gives labels to the pipeline:

    {"names": ["night", "cars"], "clips": {"000000.mp4": [0, 3], ...}}

`boxes.npz` holds one row a box: `clip` (the number in the file's name), `frame`, `car` (id within
the clip) and `box` (x0 y0 x1 y1, normalised, float16: 1/2048 of the picture or finer).

A build that was stopped goes on where it was: clips that `labels.json` lists are not made again. It
is written at the start, after every `SAVE_EVERY` clips and when the build ends, also by an error or
Ctrl-C; a killed one makes its last few clips once more, which come out the same.
"""

import os
import re
from pathlib import Path

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_writable, write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.core.progress import tracked
from vldm_jax.core.scratch import sweep
from vldm_jax.data.boxes import read_boxes
from vldm_jax.data.labels import MAX_BYTES
from vldm_jax.data.write import check_crf, write_video
from vldm_jax.driving.clips import LABELS, check_clip, open_canvas, render_clip
from vldm_jax.driving.pool import run_all

SAVE_EVERY = 20
NO_BOXES = {
    "frame": np.zeros(0, np.uint16),
    "car": np.zeros(0, np.uint16),
    "box": np.zeros((0, 4), np.float16),
}


def build_folder(
    out: str | os.PathLike[str],
    clips: int,
    seed: int = 0,
    *,
    num_frames: int = 120,
    fps: float = 30.0,
    size: tuple[int, int] = (128, 256),
    crf: int = 17,
    workers: int | None = None,
) -> dict[str, list[float]]:
    """Render clips `seed` .. `seed + clips - 1` into a folder and return the labels of each file.

    Args:
        out: folder to write to; made if it is missing.
        clips: number of clips, >= 1.
        seed: of the first clip; the set is disjoint from another if their seed ranges are.
        num_frames: frames a clip.
        fps: frames a second.
        size: height and width in pixels.
        crf: x264's constant rate factor; lower is better and bigger.
        workers: processes; None for one a core.

    Raises:
        InputError: if panda3d cannot render, an argument is out of range, or the folder cannot be
            written, holds clips of another build or a damaged `labels.json`.
    """
    out = Path(out)
    if clips < 1:
        raise InputError(f"cannot build {clips} clips in {out}: ask for at least 1")
    check_clip(seed, num_frames, fps, size)
    check_crf(crf)
    check_writable(out)
    open_canvas(*size)
    recipe = {"seed": seed, "num_frames": num_frames, "fps": fps, "size": list(size), "crf": crf}
    labels, rows = _resume(out, recipe)
    todo = [i for i in range(clips) if _name(i) not in labels]
    workers = min(workers or os.cpu_count() or 1, max(1, len(todo)))
    jobs = ((out / _name(i), seed + i, num_frames, fps, size, crf) for i in todo)
    results = tracked(run_all(_build_clip, jobs, workers), "rendering", len(todo), "clip")
    _save(out, recipe, labels, rows)  # from the first moment on, the folder says whose it is
    try:
        for done, (i, result) in enumerate(zip(todo, results, strict=True), start=1):
            labels[_name(i)], rows[i] = result
            if done % SAVE_EVERY == 0:
                _save(out, recipe, labels, rows)
    finally:
        _save(out, recipe, labels, rows)
    return labels


def _name(index):
    return f"{index:06d}.mp4"


def _build_clip(path, seed, num_frames, fps, size, crf):
    clip = render_clip(seed, num_frames, fps, size)
    write_video(path, clip["video"], fps, crf=crf)
    counts = [len(ids) for ids in clip["ids"]]
    rows = {
        "frame": np.repeat(np.arange(num_frames, dtype=np.uint16), counts),
        "car": np.concatenate(clip["ids"]).astype(np.uint16),
        "box": np.concatenate(clip["boxes"]).astype(np.float16),
    }
    return [float(value) for value in clip["labels"]], rows


def _resume(out, recipe):
    path = out / "labels.json"
    sweep(out)  # what a killed build was writing
    if not path.exists():
        if out.exists() and any(file.name != "boxes.npz" for file in out.iterdir()):
            raise InputError(f"{out} is not empty and holds no labels.json: give another folder")
        out.mkdir(parents=True, exist_ok=True)
        return {}, {}
    found = _read_saved(path)
    if "recipe" not in found or found["recipe"] != recipe:
        raise InputError(f"{out} holds clips made another way: give another folder or remove it")
    boxes = read_boxes(out)
    labels = {name: v for name, v in found["clips"].items() if (out / name).is_file()}
    rows = {}
    for name in labels:
        index = int(Path(name).stem)
        mine = boxes["clip"] == index
        rows[index] = {key: boxes[key][mine] for key in NO_BOXES}
    return labels, rows


def _read_saved(path):
    """The content of a `labels.json`; of one that this simulator wrote, all that is asked of it."""
    remedy = "remove the folder, or give another one"
    found = read_json(path, "a table of labels", remedy=remedy, max_bytes=MAX_BYTES)
    if not ("clips" in found and isinstance(found["clips"], dict)):
        raise InputError(f"{path} lists no clips: {remedy}")
    for name, values in found["clips"].items():
        if not (re.fullmatch(r"[0-9]{6,12}\.mp4", name) and _are_numbers(values)):
            raise InputError(f"{path} lists {name!r}, which is no clip of this simulator: {remedy}")
    return found


def _are_numbers(values):
    return (
        isinstance(values, list)
        and len(values) == len(LABELS)
        and all(isinstance(value, (int, float)) for value in values)
    )


def _save(out, recipe, labels, rows):
    order = sorted(rows)
    counts = np.array([len(rows[i]["frame"]) for i in order], np.int64)
    clip = np.repeat(np.array(order, np.uint32), counts)
    arrays = {
        key: np.concatenate([NO_BOXES[key], *(rows[i][key] for i in order)]) for key in NO_BOXES
    }
    with atomic_path(out / "boxes.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, clip=clip, **arrays)
    clips = {name: labels[name] for name in sorted(labels)}
    write_json(out / "labels.json", {"names": list(LABELS), "recipe": recipe, "clips": clips})
