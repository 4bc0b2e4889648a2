"""Protocols that people quote, a row each: what `vldm evaluate --preset NAME` sets.

What a source leaves open is left open here, too: `None` is the samples' own.
"""

import dataclasses


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
    """

    figures: tuple[str, ...]
    clips: int | None
    frames: int
    fps: float | None
    windows: str
    says: str


PRESETS = {
    "paper-fvd": Preset(
        figures=("fvd",), clips=2048, frames=16, fps=30.0, windows="one",
        says="Align your Latents, App. G: 2,048 clips of 16 frames at 30 fps",
    ),
    "paper-fid": Preset(
        figures=("fid",), clips=2048, frames=16, fps=30.0, windows="one",
        says="Align your Latents, App. G: frames of the same clips (all 32,768, not 10,000)",
    ),
    "vista": Preset(
        figures=("fvd", "fid"), clips=5369, frames=25, fps=10.0, windows="all",
        says="Vista on nuScenes: 5,369 clips of 25 frames (FID there leaves out given frames)",
    ),
}  # fmt: skip
