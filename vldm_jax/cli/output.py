"""What samples look like as files: mp4, GIF and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vldm_jax.data.write import write_contact_sheet, write_gif, write_video
from vldm_jax.typing import UInt8

ROW = 4  # images in a row of the contact sheet


def write_videos(
    out: Path, videos: UInt8[np.ndarray, "b t h w 3"], fps: float, first: int = 0
) -> list[Path]:
    """Write every video as mp4 and GIF, named by its number; return the files.

    Args:
        out: folder.
        videos: single frames (t = 1) go on the sheet only.
        fps: frames per second.
        first: number of the first.
    """
    files = []
    if videos.shape[1] > 1:
        for number, video in enumerate(videos, first):
            files += [out / f"{number:04}.mp4", out / f"{number:04}.gif"]
            write_video(files[-2], video, fps)
            write_gif(files[-1], video, fps)
    return files


def write_sheet(
    path: Path, videos: UInt8[np.ndarray, "b t h w 3"], captions: Sequence[str]
) -> None:
    """Write a contact sheet: a video has a row of its own, single frames share one."""
    together = 1 if videos.shape[1] > 1 else ROW
    starts = range(0, len(videos), together)
    rows = [np.concatenate(videos[i : i + together]) for i in starts]
    texts = ["; ".join(text for text in captions[i : i + together] if text) for i in starts]
    numbered = [f"{start:04}  {text}" for start, text in zip(starts, texts, strict=True)]
    write_contact_sheet(path, rows, numbered)
