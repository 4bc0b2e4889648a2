"""Rasterise quads with panda3d's CPU renderer (`p3tinydisplay`): no GPU, no window, no network.

panda3d only transforms, clips, textures and depth-tests; light, fog and glow are arithmetic on its
RGBA buffer (`shading`). It has no antialiasing, so pictures are drawn `SUPERSAMPLE` times larger
and averaged. One `Canvas` a process and size: panda3d keeps global state.

panda3d is the optional extra `sim` and is imported when the first canvas is made.
"""

import ctypes.util
from functools import cache
from types import ModuleType

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.driving.mesh import Quads, join
from vldm_jax.driving.scenery import Chunk
from vldm_jax.driving.shading import SKY, encode_alpha
from vldm_jax.typing import Float, UInt8

SUPERSAMPLE = 2
FIELD_OF_VIEW = 48.0
NEAR, DRAW_FAR = 0.4, 345.0
_SETTINGS = """load-display p3tinydisplay
window-type offscreen
audio-library-name null
textures-power-2 down
notify-level-display fatal
notify-level-x11display fatal
notify-level fatal
"""


@cache
def load_panda3d() -> ModuleType:
    """Return `panda3d.core`, set up for offscreen rendering on the CPU.

    Raises:
        InputError: if panda3d is not installed or cannot be loaded.
    """
    try:
        from panda3d import core
    except ModuleNotFoundError as error:
        raise InputError(
            "rendering driving clips needs panda3d, which is not installed: "
            "pip install 'vldm_jax[sim]'"
        ) from error
    except ImportError as error:
        raise InputError(
            f"panda3d cannot be loaded ({error}): install libX11 (Debian: apt-get install libx11-6)"
        ) from error
    core.load_prc_file_data("", _SETTINGS)
    return core


def focal_length(width: int) -> float:
    """Return pixels a radian at the picture's centre for a picture `width` pixels wide."""
    return width / 2 / np.tan(np.radians(FIELD_OF_VIEW / 2))


class Canvas:
    """An offscreen buffer of one size with a camera."""

    def __init__(self, height: int, width: int) -> None:
        """Open a buffer for pictures of (height, width) pixels, SUPERSAMPLE times larger inside.

        Raises:
            InputError: if panda3d is missing or opens no buffer.
        """
        core = self.core = load_panda3d()
        self.size = self.height, self.width = height * SUPERSAMPLE, width * SUPERSAMPLE
        self.engine = core.GraphicsEngine()
        pipe = core.GraphicsPipeSelection.get_global_ptr().make_module_pipe("p3tinydisplay")
        if pipe is None:
            missing = "" if ctypes.util.find_library("X11") else " (libX11 is not installed)"
            raise InputError(
                f"panda3d cannot load its CPU renderer p3tinydisplay{missing}: "
                "install libX11 (Debian: apt-get install libx11-6)"
            )
        frame = core.FrameBufferProperties()
        frame.set_rgba_bits(8, 8, 8, 8)
        frame.set_depth_bits(24)
        window = core.WindowProperties.size(self.width, self.height)
        self.buffer = self.engine.make_output(
            pipe, "driving", 0, frame, window, core.GraphicsPipe.BF_refuse_window
        )
        if self.buffer is None:
            raise InputError(f"panda3d opens no offscreen buffer of {self.width}x{self.height}")
        self.pixels = core.Texture()
        self.buffer.add_render_texture(
            self.pixels, core.GraphicsOutput.RTM_copy_ram, core.GraphicsOutput.RTP_color
        )
        self.buffer.set_clear_color((0, 0, 0, SKY / 255))
        lens = core.PerspectiveLens()
        lens.set_film_size(self.width, self.height)
        lens.set_focal_length(focal_length(self.width))
        lens.set_near_far(NEAR, DRAW_FAR + 60)
        self.root = core.NodePath("root")
        self.root.set_two_sided(True)
        self.camera = self.root.attach_new_node(core.Camera("camera", lens))
        self.buffer.make_display_region().set_camera(self.camera)
        self.textures = _textures(core)
        self._order = 0

    def next_order(self) -> int:
        """Return a number for the next thing to draw, one more each time."""
        self._order += 1
        return self._order

    def grab(
        self, position: Float[np.ndarray, " 3"], heading: float, pitch: float
    ) -> UInt8[np.ndarray, "h w 4"]:
        """Draw from a place in the world and return BGRA samples, top row first."""
        self.camera.set_pos(*(float(p) for p in position))
        self.camera.set_hpr(-float(np.degrees(heading)), float(np.degrees(pitch)), 0.0)
        self.engine.render_frame()
        data = np.frombuffer(self.pixels.get_ram_image(), np.uint8)
        return data.reshape(self.height, self.width, 4)[::-1]

    def close(self) -> None:
        """Free the buffer."""
        self.engine.remove_window(self.buffer)


class Patch:
    """Quads of one texture on the canvas; colours' alpha (and positions) change each frame."""

    def __init__(self, canvas: Canvas, quads: Quads, texture: str) -> None:
        """Attach the quads under the canvas's root."""
        core = canvas.core
        self.count = 4 * len(quads.corners)
        layout = core.GeomVertexFormat()
        place = core.GeomVertexArrayFormat()
        place.add_column(core.InternalName.get_vertex(), 3, core.Geom.NT_float32, core.Geom.C_point)
        place.add_column(
            core.InternalName.get_texcoord(), 2, core.Geom.NT_float32, core.Geom.C_texcoord
        )
        paint = core.GeomVertexArrayFormat()
        paint.add_column(core.InternalName.get_color(), 4, core.Geom.NT_uint8, core.Geom.C_color)
        layout.add_array(place)
        layout.add_array(paint)
        layout = core.GeomVertexFormat.register_format(layout)
        self.data = core.GeomVertexData("quads", layout, core.Geom.UH_dynamic)
        self.data.unclean_set_num_rows(self.count)
        first = np.arange(0, self.count, 4, dtype=np.uint32)[:, None]
        corners = (first + np.array([[0, 1, 2, 0, 2, 3]], np.uint32)).astype(np.uint32)
        triangles = core.GeomTriangles(core.Geom.UH_static)
        triangles.set_index_type(core.Geom.NT_uint32)
        triangles.modify_vertices().unclean_set_num_rows(corners.size)
        triangles.modify_vertices().modify_handle().copy_data_from(corners.tobytes())
        geom = core.Geom(self.data)
        geom.add_primitive(triangles)
        node = core.GeomNode("quads")
        node.add_geom(geom)
        self.node = canvas.root.attach_new_node(node)
        # Else panda3d sorts by memory address, and faces that touch would flicker between runs.
        self.node.set_bin("fixed", canvas.next_order())
        # Positions of moving cars change after attaching: no stale bounding box may cull them.
        node.set_bounds(core.OmniBoundingVolume())
        node.set_final(True)
        if texture != "plain":
            self.node.set_texture(canvas.textures[texture])
        self.place(quads)

    def place(self, quads: Quads) -> None:
        """Set positions and texture coordinates."""
        rows = np.concatenate([quads.corners.reshape(-1, 3), quads.uv.reshape(-1, 2)], axis=1)
        self.data.modify_array_handle(0).copy_data_from(rows.astype(np.float32).tobytes())

    def paint(self, colors: UInt8[np.ndarray, "n 4"]) -> None:
        """Set RGBA of every corner."""
        self.data.modify_array_handle(1).copy_data_from(np.ascontiguousarray(colors).data)

    def remove(self) -> None:
        """Detach from the canvas."""
        self.node.remove_node()


class StaticWorld:
    """All chunks of scenery on a canvas; only those in sight are kept up to date and drawn."""

    def __init__(self, canvas: Canvas, chunks: list[Chunk]) -> None:
        """Attach every chunk."""
        self.starts = np.array([chunk.start for chunk in chunks])
        self.patches, bags, self.bounds = [], [], [0]
        for chunk in chunks:
            row = []
            for texture, quads in chunk.quads.items():
                patch = Patch(canvas, quads, texture)
                patch.node.hide()
                row.append(patch)
                bags.append(quads)
            self.patches.append(row)
            self.bounds.append(self.bounds[-1] + sum(patch.count for patch in row))
        quads = join(bags)
        self.points = quads.corners.reshape(-1, 3).astype(np.float32)
        self.emissive = np.repeat(quads.emissive, 4)
        self.colors = np.zeros((len(self.points), 4), np.uint8)
        self.colors[:, :3] = to_bytes(quads.colors.reshape(-1, 3))

    def update(self, s: float, position, forward) -> None:
        """Show what lies between 30 m behind and `DRAW_FAR` ahead of s; refresh depth codes."""
        seen = (self.starts > s - 30.0) & (self.starts < s + DRAW_FAR)
        for index, row in enumerate(self.patches):
            for patch in row:
                patch.node.show() if seen[index] else patch.node.hide()
        first, last = np.flatnonzero(seen)[[0, -1]]
        a, b = self.bounds[first], self.bounds[last + 1]
        depth = self.points[a:b] @ forward.astype(np.float32) - np.float32(position @ forward)
        self.colors[a:b, 3] = encode_alpha(depth, self.emissive[a:b])
        for index in range(first, last + 1):
            start = self.bounds[index]
            for patch in self.patches[index]:
                patch.paint(self.colors[start : start + patch.count])
                start += patch.count

    def remove(self) -> None:
        """Detach from the canvas."""
        for row in self.patches:
            for patch in row:
                patch.remove()


def to_bytes(colors: Float[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "n 3"]:
    """Return colours in [0, 1] as bytes, clipped."""
    return (np.clip(colors, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _textures(core):
    rng = np.random.default_rng(7)
    made = {}
    for name, size, strength in (("asphalt", 64, 0.07), ("ground", 64, 0.16)):
        tone = 1.0 - strength + strength * _smooth_noise(rng, size, 6 if name == "ground" else 5)
        made[name] = np.repeat(tone[..., None], 3, axis=2)
    wall = np.ones((32, 32, 3))
    wall[9:25, 8:24] = (0.36, 0.42, 0.50)
    wall[9:25, 15:17] = 0.80
    wall[0:2] = 0.82
    made["facade"] = wall
    textures = {}
    for name, picture in made.items():
        height, width, _ = picture.shape
        texture = core.Texture(name)
        texture.setup_2d_texture(width, height, core.Texture.T_unsigned_byte, core.Texture.F_rgb)
        data = to_bytes(picture.reshape(-1, 3)).reshape(picture.shape)[..., ::-1]
        texture.set_ram_image(np.ascontiguousarray(data).tobytes())
        texture.set_minfilter(core.SamplerState.FT_linear_mipmap_linear)
        texture.set_magfilter(core.SamplerState.FT_linear)
        textures[name] = texture
    return textures


def _smooth_noise(rng, size, waves):
    """Tileable noise in [0, 1]: a sum of few low-frequency waves."""
    y, x = np.mgrid[0:size, 0:size] / size * 2 * np.pi
    total = np.zeros((size, size))
    for _ in range(3 * waves):
        i, j = rng.integers(-waves, waves + 1, size=2)
        total += np.sin(i * x + j * y + rng.uniform(0, 2 * np.pi)) / (1 + np.hypot(i, j))
    return (total - total.min()) / (total.max() - total.min())
