"""From what the rasteriser gives to a picture: lights, fog, sky, glow, bonnet, averaging.

The rasteriser writes flat albedo in RGB and, in A, a code of depth and of whether a face is
emissive (`encode_alpha`). The rest is arithmetic on that buffer:

    depth  z = -L log(1 - f (1 - e^(-far / L)))         f = fog fraction, what the code stores
    color    = albedo (light + head lights(X, Y, z))    not for emissive faces
    picture  = color (1 - f) + fog f ; sky where nothing was drawn ; + glow of lamps ; bonnet on top

and the mean over the `supersample` x `supersample` samples of a pixel.
"""

from dataclasses import dataclass

import numpy as np

from vldm_jax.driving.sky import Look
from vldm_jax.driving.world import EYE_HEIGHT
from vldm_jax.typing import Bool, Float, UInt8

FAR, FOG_LENGTH = 330.0, 190.0
SKY, EMISSIVE, LEVELS = 255, 130, 120
_FOG_SCALE = 1.0 - np.exp(-FAR / FOG_LENGTH)


@dataclass(frozen=True, kw_only=True)
class Glow:
    """A lamp's halo.

    Attributes:
        x: column in samples.
        y: row in samples.
        depth: metres.
        radius: samples.
        color: RGB, may exceed 1.
    """

    x: float
    y: float
    depth: float
    radius: float
    color: tuple[float, float, float]


def encode_alpha(
    depth: Float[np.ndarray, " n"], emissive: Bool[np.ndarray, " n"]
) -> UInt8[np.ndarray, " n"]:
    """Return the alpha code of points `depth` metres ahead (1.4 m fine near by, 7 m far away)."""
    fog = (1.0 - np.exp(np.maximum(depth, 0.0) * (-1.0 / FOG_LENGTH))) * (LEVELS / _FOG_SCALE)
    return (np.minimum(fog + 0.5, LEVELS) + EMISSIVE * emissive).astype(np.uint8)


def _fog_table():
    code = np.arange(256)
    return np.clip(np.where(code >= EMISSIVE - 2, code - EMISSIVE, code) / LEVELS, 0.0, 1.0)


FOG_OF_CODE = _fog_table().astype(np.float32)
DEPTH_OF_CODE = (-FOG_LENGTH * np.log(1.0 - FOG_OF_CODE * _FOG_SCALE)).astype(np.float32)
DEPTH_OF_CODE[SKY] = 1e6
_NEAR_SIDE = np.where(DEPTH_OF_CODE < 14.0, 22.0, 34.0)
BEAM_REACH = (2.3 * np.exp(-np.square((DEPTH_OF_CODE - 14.0) / _NEAR_SIDE))).astype(np.float32)
BEAM_REACH[EMISSIVE - 2 :] = 0.0
BEAM_WIDTH = (1.0 / (2.6 + 0.16 * DEPTH_OF_CODE)).astype(np.float32)


class Shader:
    """The arithmetic above for one picture size and one look."""

    def __init__(
        self, look: Look, night: bool, size: tuple[int, int], focal: float, supersample: int
    ) -> None:
        """Prepare tables for buffers of `size` (height, width) samples.

        Args:
            look: colours of the hour.
            night: whether our head lights are on.
            size: height and width in samples.
            focal: focal length in samples.
            supersample: samples a pixel and axis.
        """
        height, width = size
        self.night, self.supersample = night, supersample
        self.fog_color = np.asarray(look.horizon, np.float32)
        self.across = ((np.arange(width) + 0.5 - width / 2) / focal).astype(np.float32)
        self.up = ((height / 2 - np.arange(height) - 0.5) / focal).astype(np.float32)
        color, cover = _bonnet(height, width, night)
        self.bonnet = [average(c, supersample) for c in color], average(cover, supersample)
        lit = np.where(np.arange(256) >= EMISSIVE - 2, 1.0, look.light)
        self.gain = (lit * (1.0 - FOG_OF_CODE) / 255.0).astype(np.float32)

    def shade(
        self,
        buffer: UInt8[np.ndarray, "h w 4"],
        sky: Float[np.ndarray, "3 h w"],
        pitch: float,
        glows: list[Glow],
    ) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the finished picture; colour planes are worked on one at a time, for speed.

        Args:
            buffer: BGRA of the rasteriser, top row first.
            sky: what is seen where nothing was drawn, in [0, 1].
            pitch: of the camera in radians, positive looks up.
            glows: halos to add.
        """
        code = np.ascontiguousarray(buffer[..., 3])
        gain = self.gain[code]
        if self.night:
            gain *= self._head_lights(code, pitch)
        fog, is_sky = FOG_OF_CODE[code], code == SKY
        halos = self._halos(code, glows)
        color, cover = self.bonnet
        k = self.supersample
        h, w = code.shape
        picture = np.empty((h // k, w // k, 3), np.uint8)
        for c in range(3):
            plane = buffer[..., 2 - c] * gain
            plane += fog * self.fog_color[c]
            np.copyto(plane, sky[c], where=is_sky)
            for rows, columns, halo, tint in halos:
                plane[rows, columns] += halo * tint[c]
            small = average(plane, k)
            small += (color[c] - small) * cover
            picture[..., c] = np.clip(small, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)
        return picture

    def _head_lights(self, code, pitch):
        """1 + gain of our own low beams on what the buffer shows."""
        z = DEPTH_OF_CODE[code]
        y = np.float32(EYE_HEIGHT) + (self.up[:, None] + np.float32(pitch)) * z
        wide = np.square(self.across[None, :] * z * BEAM_WIDTH[code])
        low = np.square(np.maximum(y - np.float32(0.9), 0.0) * np.float32(1 / 1.4))
        return 1.0 + BEAM_REACH[code] * np.exp(-wide - low)

    def _halos(self, code, glows):
        """Rows, columns, strength and colour of every halo whose lamp is not hidden."""
        h, w = code.shape
        halos = []
        for glow in glows:
            column, row = round(glow.x), round(glow.y)
            inside = 0 <= column < w and 0 <= row < h
            if inside and DEPTH_OF_CODE[code[row, column]] < 0.96 * glow.depth - 2.0:
                continue
            reach = int(np.ceil(2.2 * glow.radius))
            x0, x1 = max(0, column - reach), min(w, column + reach + 1)
            y0, y1 = max(0, row - reach), min(h, row + reach + 1)
            if x0 >= x1 or y0 >= y1:
                continue
            fall_x = np.exp(-np.square((np.arange(x0, x1) - glow.x) / glow.radius))
            fall_y = np.exp(-np.square((np.arange(y0, y1) - glow.y) / glow.radius))
            halo = (fall_y[:, None] * fall_x[None, :]).astype(np.float32)
            tint = np.asarray(glow.color, np.float32)
            halos.append((slice(y0, y1), slice(x0, x1), halo, tint))
        return halos


def average(plane: Float[np.ndarray, "h w"], k: int) -> Float[np.ndarray, "h2 w2"]:
    """Return the mean of k x k samples."""
    total = sum(plane[i::k, j::k] for i in range(k) for j in range(k))
    return total * np.float32(1.0 / k**2)


def _bonnet(height, width, night):
    """Colour and coverage of the ego car's bonnet at the lower edge of the picture."""
    u = (np.arange(width) + 0.5 - width / 2) / (width / 2)
    v = (np.arange(height)[:, None] + 0.5) / height
    edge = 0.915 + 0.075 * np.abs(u[None, :]) ** 2.4
    cover = np.clip((v - edge) * height + 0.5, 0.0, 1.0)
    depth = np.clip((v - edge) / 0.10, 0.0, 1.0)
    shine = np.exp(-np.square((np.abs(u[None, :]) - 0.45) / 0.12)) * 0.25
    tone = (0.36 - 0.26 * depth + shine * (1 - depth))[..., None]
    color = tone * np.array([0.75, 0.85, 1.0]) * (0.30 if night else 1.0)
    return np.moveaxis(color, -1, 0).astype(np.float32), cover.astype(np.float32)
