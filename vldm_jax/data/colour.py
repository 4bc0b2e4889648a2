"""Colours as an ordinary screen shows them: from what a file is tagged with to BT.709 in [0, 255].

Matrix (BT.601, BT.709, BT.2020, ...) and range are FFmpeg's to undo; untagged is BT.601, limited,
as there. What is left are high dynamic range and wide gamuts. With signals e in [0, 1]:

    PQ    nits = 10000 (max(p - c1, 0) / (c2 - c3 p))^(1/m1),  p = e^(1/m2)       SMPTE ST 2084
    HLG   scene = e^2 / 3 up to 1/2, then (exp((e - c) / a) + b) / 12              BT.2100 Table 5
          nits = 1000 Y^0.2 scene,  Y the scene's luminance
    SDR   nits = 203 e^2.4                                                         BT.1886

The white of 203 nits, to which HDR is graded (BT.2408), is the white of the screen. What is
brighter, or more colourful than BT.709, is clipped, channel by channel; all else stays exact.
swscale does the same but needs eight seconds for its table in every reader.
"""

from functools import cache

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from jaxtyping import Float, Float32, UInt8, UInt16

from vldm_jax.data.faults import Fault
from vldm_jax.data.side_data import side_data

WHITE = 203.0  # nits
MATRICES = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 9})
"""AVColorSpace that FFmpeg converts: RGB, BT.709, none, reserved, FCC, BT.601, 240M, BT.2020."""
HDR = frozenset({ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67})
ODD_CURVES = frozenset({ColorTrc.LINEAR, ColorTrc.LOG, ColorTrc.LOG_SQRT, ColorTrc.SMPTE428})
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # (x, y) of red, green, blue
WIDE = {
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE431: P3,
    ColorPrimaries.SMPTE432: P3,
}
BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))  # and those so close that nobody converts
D65 = (0.3127, 0.3290)
_UNTAGGED, _BT2020 = 2, 9  # AVCOL_SPC_UNSPECIFIED, AVCOL_SPC_BT2020_NCL
ROWS = 64  # converted at a time, so that a large frame needs no copies in float


def to_rgb(
    reformatter: VideoReformatter,
    frame: av.VideoFrame,
    height: int,
    width: int,
    interpolation: str,
) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Return a frame at this size as RGB for an ordinary screen.

    Raises:
        Fault: if its colours cannot be converted.
    """
    if not frame.format.is_rgb and frame.colorspace not in MATRICES:
        raise Fault("unknown colours", f"colour matrix {frame.colorspace} of H.273")
    if frame.color_trc in ODD_CURVES:
        raise Fault("unknown colours", f"transfer curve {frame.color_trc} of H.273")
    if frame.color_trc == ColorTrc.UNSPECIFIED and _is_dolby_vision(frame):
        raise Fault("unknown colours", "Dolby Vision without a picture for other screens")
    curve, primaries, matrix = frame.color_trc, frame.color_primaries, frame.colorspace
    if curve in HDR:  # defined for BT.2020, so that is what a missing tag means
        primaries = ColorPrimaries.BT2020 if primaries == ColorPrimaries.UNSPECIFIED else primaries
        matrix = _BT2020 if matrix == _UNTAGGED else matrix
    plain = curve not in HDR and primaries not in WIDE
    signal = reformatter.reformat(
        frame, width, height, "rgb24" if plain else "rgb48le",
        src_colorspace=matrix, interpolation=interpolation, threads=1,
    ).to_ndarray()  # fmt: skip
    return signal if plain else _to_screen(signal, curve, primaries)


def _is_dolby_vision(frame: av.VideoFrame) -> bool:
    try:
        return side_data(frame, Type.DOVI_METADATA) is not None
    except LookupError:
        return False


def _to_screen(
    signal: UInt16[np.ndarray, "h w 3"], curve: int, primaries: int
) -> UInt8[np.ndarray, "h w 3"]:
    to_light, gamut = _light_of(curve), _to_bt709(primaries)
    screen = np.empty(signal.shape, np.uint8)
    for start in range(0, len(signal), ROWS):
        light = to_light[signal[start : start + ROWS]]
        if curve == ColorTrc.ARIB_STD_B67:
            luminance = light @ _to_xyz(primaries)[1].astype(np.float32)
            light = light * (1000 / WHITE) * luminance[..., None] ** np.float32(0.2)
        shown = np.clip(light @ gamut.T, 0, 1) ** np.float32(1 / 2.4)
        screen[start : start + ROWS] = np.rint(255 * shown)
    return screen


@cache
def _light_of(curve: int) -> Float32[np.ndarray, "65536"]:
    """Light of each signal: in units of `WHITE`; for HLG of the scene, in [0, 1]."""
    e = np.arange(65536) / 65535
    if curve == ColorTrc.SMPTE2084:
        m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
        p = e ** (1 / m2)
        light = 10000 / WHITE * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)
    elif curve == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
    else:
        light = e**2.4
    return light.astype(np.float32)


@cache
def _to_bt709(primaries: int) -> Float32[np.ndarray, "3 3"]:
    """The matrix from linear RGB with these primaries to that of BT.709."""
    to_xyz = _to_xyz(primaries)
    return np.linalg.solve(_to_xyz(ColorPrimaries.BT709), to_xyz).astype(np.float32)


@cache
def _to_xyz(primaries: int) -> Float[np.ndarray, "3 3"]:
    """The matrix from linear RGB to XYZ: each primary as bright as makes white D65."""
    corners = WIDE[primaries] if primaries in WIDE else BT709
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*corners, D65)]).T
    rgb, white = columns[:, :3], columns[:, 3]
    return rgb * np.linalg.solve(rgb, white)
