"""Clips as a plain folder: mp4 files, `labels.json`, `boxes.npz`. Rendered by several processes.

`labels.json` is the layout by which any folder of videos gives labels to the pipeline:

    {"names": ["night", "cars"], "clips": {"000000.mp4": [0, 3], ...}}

`boxes.npz` holds one row a box: `clip` (the number in the file's name), `frame`, `car` (id within
the clip) and `box` (x0 y0 x1 y1, normalised, float16: 1/2048 of the picture or finer).

A build that was stopped goes on where it was: clips that `labels.json` lists are not made again.
"""

import json
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, write_json
from vldm_jax.data.driving.clips import LABELS, render_clip
from vldm_jax.data.driving.pool import run_all
from vldm_jax.data.driving.render import load_panda3d
from vldm_jax.data.write import write_video

SAVE_EVERY = 20


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
        InputError: if panda3d cannot render, or the folder holds clips of another build.
    """
    if clips < 1:
        raise InputError(f"cannot build {clips} clips in {out}: ask for at least 1")
    load_panda3d()
    out = Path(out)
    recipe = {"seed": seed, "num_frames": num_frames, "fps": fps, "size": list(size), "crf": crf}
    labels, rows = _resume(out, recipe)
    todo = [i for i in range(clips) if _name(i) not in labels]
    workers = min(workers or os.cpu_count() or 1, max(1, len(todo)))
    jobs = ((out / _name(i), seed + i, num_frames, fps, size, crf) for i in todo)
    results = tqdm(run_all(_build_clip, jobs, workers), "rendering", len(todo), unit="clip")
    for done, (i, result) in enumerate(zip(todo, results, strict=True), start=1):
        labels[_name(i)], rows[i] = result
        if done % SAVE_EVERY == 0:
            _save(out, recipe, labels, rows)
    _save(out, recipe, labels, rows)
    return labels


def read_boxes(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of a folder's `boxes.npz`: clip, frame, car (n) and box (n 4).

    Raises:
        InputError: if the folder has none.
    """
    path = Path(folder) / "boxes.npz"
    if not path.is_file():
        raise InputError(f"{path} does not exist: only folders built by this simulator have boxes")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("clip", "frame", "car", "box")}


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
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty and holds no labels.json: give another folder")
        out.mkdir(parents=True, exist_ok=True)
        return {}, {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if "recipe" not in found or found["recipe"] != recipe:
        raise InputError(f"{out} holds clips made another way: give another folder or remove it")
    boxes = read_boxes(out)
    rows = {}
    for name in found["clips"]:
        index = int(Path(name).stem)
        mine = boxes["clip"] == index
        rows[index] = {key: boxes[key][mine] for key in ("frame", "car", "box")}
    return dict(found["clips"]), rows


def _save(out, recipe, labels, rows):
    order = sorted(rows)
    clip = np.repeat(np.array(order, np.uint32), [len(rows[i]["frame"]) for i in order])
    arrays = {key: np.concatenate([rows[i][key] for i in order]) for key in ("frame", "car", "box")}
    with atomic_path(out / "boxes.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, clip=clip, **arrays)
    clips = {name: labels[name] for name in sorted(labels)}
    write_json(out / "labels.json", {"names": list(LABELS), "recipe": recipe, "clips": clips})
