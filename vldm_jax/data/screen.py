"""A decoded frame as a player would put it on the screen.

In this order: fields become one moment (`fields`), pixels become square, colours those of an
ordinary screen (`colour`), and the picture is turned upright (`orientation`). The height is the
stored one, the width follows the pixels' aspect: 720x576 of PAL widescreen is shown as 1024x576.
"""

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from vldm_jax.data.colour import to_rgb
from vldm_jax.data.faults import Fault
from vldm_jax.data.fields import deinterlace, is_interlaced
from vldm_jax.data.opening import MAX_PIXELS, fraction
from vldm_jax.data.orientation import orientation

THUMBNAIL = (16, 28)
SQUARE = Fraction(1)
ODDEST = 8  # times as wide as high, or as high as wide: no format has such pixels


class Screen:
    """Shows the frames of one stream; keeps FFmpeg's scaling tables from one frame to the next."""

    def __init__(self, stream: av.VideoStream):
        self._stream = stream
        self._full, self._small = VideoReformatter(), VideoReformatter()
        first, said = self._coded_aspect(), fraction(stream.sample_aspect_ratio)
        self._container_aspect = said if said != first else None

    def shape(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return rows and columns of a frame as shown.

        Raises:
            Fault: if it cannot be shown.
        """
        return orientation(frame).shape(frame.height, self._width(frame))

    def show(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        """Return a frame as shown, upright RGB with square pixels.

        Raises:
            Fault: if it cannot be shown.
        """
        turn, width = orientation(frame), self._width(frame)
        if is_interlaced(frame, self._stream):
            frame = deinterlace(frame)
        smooth = "BILINEAR" if width == frame.width else "BICUBIC"
        return turn.upright(to_rgb(self._full, frame, frame.height, width, smooth))

    def thumbnail(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "16 28 3"]:
        """Return a frame in little, as stored, to tell frames apart by.

        Raises:
            Fault: if its colours cannot be shown.
        """
        return to_rgb(self._small, frame, *THUMBNAIL, "AREA")

    def _width(self, frame: av.VideoFrame) -> int:
        aspect = self._container_aspect or self._coded_aspect() or SQUARE
        width = round(frame.width * aspect)
        if not 1 / ODDEST <= aspect <= ODDEST or not 0 < width * frame.height <= MAX_PIXELS:
            raise Fault("odd pixels", f"each {aspect} times as wide as high")
        return width

    def _coded_aspect(self) -> Fraction | None:
        """A pixel's width over its height, as the frames decoded last say; it may change on air."""
        return fraction(self._stream.codec_context.sample_aspect_ratio)
