"""Protocols that people quote, a row each: what `vldm evaluate --preset NAME` sets.

What a source leaves open is left open here, too: `None` is the samples' own, or as many as there
are. A floor takes as many real clips again, which no protocol has: `--no-floor` leaves it out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of an evaluation.

    Attributes:
        figures: names.
        clips: in each set; None for as many as there are.
        frames: of a clip.
        fps: of a clip; None for the samples' own.
        windows: of real videos, one of `clips.WINDOWS`.
        says: whose protocol it is, in a line.
        frames_drawn: of each set, for figures of frames; None for all.
    """

    figures: tuple[str, ...]
    clips: int | None
    frames: int
    fps: float | None
    windows: str
    says: str
    frames_drawn: int | None = None


PRESETS = {
    "paper-fvd": Preset(
        figures=("fvd",), clips=2048, frames=16, fps=30.0, windows="one",
        says="Align your Latents, App. G: 2,048 clips of 16 frames at 30 fps",
    ),
    "paper-fid": Preset(
        figures=("fid",), clips=2048, frames=16, fps=30.0, windows="one", frames_drawn=10_000,
        says="Align your Latents, App. G: 10,000 random frames of the same clips",
    ),
    "ucf101-is": Preset(
        figures=("is",), clips=10_000, frames=16, fps=None, windows="all",
        says="Align your Latents, App. G: C3D of UCF-101, 10 splits; of how many samples is not "
        "told: 10,000, as many as for its FVD there",
    ),
    "msr-vtt": Preset(
        figures=("clipsim",), clips=2990, frames=16, fps=30.0, windows="first",
        says="Align your Latents, App. G: 2,990 videos of 16 frames at 30 fps, one random caption "
        "each, CLIP ViT-B/32",
    ),
    "vista": Preset(
        figures=("fvd", "fid"), clips=5369, frames=25, fps=10.0, windows="all",
        says="Vista on nuScenes: 5,369 clips of 25 frames (FID there leaves out given frames)",
    ),
    "w-coda": Preset(
        figures=("fvd",), clips=None, frames=16, fps=12.0, windows="first",
        says="W-CODA 2024, track 2, on nuScenes: the first 16 frames at 12 Hz of 150 scenes",
    ),
}  # fmt: skip


def unlike(name: str, recipe: Mapping[str, Any]) -> list[str]:
    """Return a line on what an evaluation by a preset has otherwise than the preset says.

    Args:
        name: of the preset.
        recipe: of the evaluation, as `record.record` makes it.
    """
    preset = PRESETS[name]
    settings = recipe["settings"] if "settings" in recipe else {}
    drawn = settings["drawn"]["frames"] if "drawn" in settings else None
    pairs = {
        "clips": (recipe["clips"], preset.clips),
        "frames": (recipe["frames"], preset.frames),
        "fps": (recipe["fps"], preset.fps),
        "real windows": (recipe["real_windows"], preset.windows),
        "frames drawn": (drawn, preset.frames_drawn),
    }
    apart = [
        f"{key} {own} for {said}"
        for key, (own, said) in pairs.items()
        if said is not None and own != said
    ]
    return [f"not as {name} says: {', '.join(apart)}"] * bool(apart)
