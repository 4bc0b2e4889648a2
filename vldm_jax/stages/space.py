"""What a network denoises: latents of a frozen autoencoder, pixels, or what bicubic lacks of them.

    config.model.autoencoder = FILE          z = s E(x)                    latent diffusion
    config.model.autoencoder = "pixels"      z = x, in [-1, 1]             the pixel-space baseline
    config.model.autoencoder = "residual"    z = 8 (x - up4(down4(x)))     of upsamplers alone

"pixels/4" and "residual/4" have blocks of 4x4 pixels as channels. A network belongs to the space
that it was trained in, and its file says which.

Source: Align your Latents, arXiv:2304.08818, Sec. 3 and Table 1 (right). The residual: SRDiff,
arXiv:2104.14951, Sec. 3.2.
"""

import abc
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from einops import rearrange
from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.decoding import InParts
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.sampling.upsampling import bicubic, downsample
from vldm_jax.stages.latents import Latents, check_size, module_of, parts_of
from vldm_jax.stages.origin import check_latents, fingerprint_of
from vldm_jax.typing import Array, Float, Key, PyTree

OF_PIXELS = re.compile(r"(pixels|residual)(?:/([1-9][0-9]?))?")


class Space(abc.ABC):
    """A space that networks denoise in.

    Attributes:
        files: weights files that make it, by their key in `config.model`.
        decodes_clips: whether a frame's pixels depend on the frames around it.
    """

    files: Mapping[str, WeightsFile]
    decodes_clips: bool = False

    @property
    @abc.abstractmethod
    def factor(self) -> int:
        """Rows, and columns, of pixels that are one here."""

    @abc.abstractmethod
    def given(self) -> PyTree:
        """Return the parameters that take frames there and back."""

    @abc.abstractmethod
    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (h, w, c) of a frame of so many pixels."""

    @abc.abstractmethod
    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w c"]:
        """Return what a batch's frames are there; no gradient passes.

        Args:
            params: whole tree, with what `given` returns.
            batch: with uint8 frames (b h w 3) or (b t h w 3), or what was computed of them.
            frames: key of the frames in the batch.
            key: of what is drawn.
        """

    @abc.abstractmethod
    def decode(self, params: PyTree, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return frames, about [-1, 1]."""

    def beneath(self, low: Float[Array, "*b h w 3"]) -> Float[Array, "*b H W 3"] | float:
        """Return what decoded frames are added to, of frames of a quarter of their size."""
        del low
        return 0.0

    @property
    @abc.abstractmethod
    def parts(self) -> InParts:
        """How much of a video is decoded at once, and how windows of it overlap."""

    @abc.abstractmethod
    def about(self) -> dict[str, str]:
        """Return what the file of a network says of it."""

    @abc.abstractmethod
    def check(self, file: WeightsFile) -> None:
        """Raise unless a network was trained there, as far as its file says.

        Raises:
            InputError: naming the file, and what to give.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class LatentSpace(Space):
    """The latents of an autoencoder.

    Attributes:
        autoencoder: its file.
        sampling: `config.sampling`: how latents are decoded.
    """

    autoencoder: WeightsFile
    sampling: ConfigDict

    @property
    def files(self) -> Mapping[str, WeightsFile]:
        """The autoencoder's."""
        return {"autoencoder": self.autoencoder}

    @property
    def factor(self) -> int:
        """The autoencoder's."""
        return self._latents.module.factor

    @property
    def decodes_clips(self) -> bool:
        """Whether the decoder has temporal layers."""
        return self._latents.module.temporal_decoder

    @property
    def _latents(self) -> Latents:
        return Latents(module_of(self.autoencoder), *parts_of(self.sampling))

    def given(self) -> PyTree:
        """Return the autoencoder's parameters."""
        return {"autoencoder": self.autoencoder.read()}

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (h, w, c) of a frame's latents."""
        module = self._latents.module
        return height // module.factor, width // module.factor, module.latent_channels

    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w c"]:
        """Return samples of the posterior, scaled."""
        return self._latents.encode(params["autoencoder"], batch, frames, key)

    def decode(self, params: PyTree, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return frames, about [-1, 1]."""
        return self._latents.decode(params["autoencoder"], z)

    @property
    def parts(self) -> InParts:
        """What `config.sampling.decode` says, without overlap where frames are decoded alone."""
        return self._latents.parts_of_stream

    def about(self) -> dict[str, str]:
        """Return the fingerprint of the latents, and the hash of the file."""
        return {
            "latents": fingerprint_of(self.autoencoder),
            "autoencoder_sha256": self.autoencoder.sha256,
        }

    def check(self, file: WeightsFile) -> None:
        """Raise if the network was trained on other latents, or on pixels."""
        there = str(file.meta.get("latents"))
        if OF_PIXELS.fullmatch(there):
            raise InputError(
                f"{file.path} was trained on pixels: it goes with no autoencoder, "
                f"--config.model.autoencoder={there}"
            )
        check_latents(file, self.autoencoder)


@dataclasses.dataclass(frozen=True)
class PixelSpace(Space):
    """Pixels in [-1, 1].

    Attributes:
        block: height and width of the block of pixels that are the channels of one entry.
    """

    block: int = 1
    what: ClassVar[str] = "pixels"
    files: ClassVar[Mapping[str, WeightsFile]] = {}
    parts: ClassVar[InParts] = InParts(frames=16)

    @property
    def factor(self) -> int:
        """The block's height and width."""
        return self.block

    @property
    def channels(self) -> int:
        """Of an entry."""
        return 3 * self.block**2

    @property
    def name(self) -> str:
        """As a config has it."""
        return self.what if self.block == 1 else f"{self.what}/{self.block}"

    def given(self) -> PyTree:
        """Return nothing."""
        return {}

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (h, w, c) of a frame of so many pixels."""
        return height // self.block, width // self.block, self.channels

    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w c"]:
        """Return the frames."""
        del params, key
        return self.blocks(to_pixels(batch[frames]))

    def blocks(self, x: Float[Array, "*b H W 3"]) -> Float[Array, "*b h w c"]:
        """Return pixels in blocks."""
        blocks = "... (h p) (w q) c -> ... h w (p q c)"
        return rearrange(x, blocks, p=self.block, q=self.block)

    def decode(self, params: PyTree, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return the pixels of blocks."""
        del params
        blocks = "... h w (p q c) -> ... (h p) (w q) c"
        return rearrange(z, blocks, p=self.block, q=self.block)

    def about(self) -> dict[str, str]:
        """Return that it was trained on pixels, or residuals, and in which blocks."""
        return {"latents": self.name}

    def check(self, file: WeightsFile) -> None:
        """Raise if the network was trained on something else, or on other blocks."""
        there = str(file.meta.get("latents", self.name))
        if there == self.name:
            return
        what, give = there, f"--config.model.autoencoder={there}"
        if not OF_PIXELS.fullmatch(there):
            what = "latents"
            give = "the autoencoder that it was trained with, --config.model.autoencoder=FILE"
        raise InputError(
            f"{file.path} was trained on {what}, and config.model.autoencoder={self.name!r}: "
            f"give {give}"
        )


@dataclasses.dataclass(frozen=True)
class ResidualSpace(PixelSpace):
    """What bicubic enlargement by 4 lacks of pixels, about as large as pixels are.

    An upsampler that errs by so much of z errs by an eighth of it in pixels, and one that knows
    nothing is still near bicubic.
    """

    what: ClassVar[str] = "residual"
    scale: ClassVar[float] = 8.0

    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w c"]:
        """Return what is left of the frames, of which both sizes are multiples of 4."""
        del params, key
        x = to_pixels(batch[frames])
        return self.scale * self.blocks(x - self.beneath(downsample(x)))

    def decode(self, params: PyTree, z: Float[Array, "b *t h w c"]) -> Float[Array, "b *t H W 3"]:
        """Return what is to be added to `beneath`."""
        return super().decode(params, z) / self.scale

    def beneath(self, low: Float[Array, "*b h w 3"]) -> Float[Array, "*b H W 3"]:
        """Return frames of four times the height and width, bicubic."""
        return bicubic(low)


def space_of(
    config: ConfigDict,
    channels: int,
    find: Callable[[], WeightsFile],
    of_pixels: tuple[type[PixelSpace], ...],
) -> Space:
    """Return the space that a config means.

    Args:
        config: of the experiment.
        channels: that the network predicts.
        find: returns the autoencoder's file.
        of_pixels: spaces without an autoencoder that the stage knows.

    Raises:
        InputError: if the space is not of frames of `config.data`, has other channels, or is one
            of other stages.
    """
    pixels = OF_PIXELS.fullmatch(str(config.model.autoencoder))
    if pixels is None:
        file = find()
        check_size(file, config.data, channels)
        return LatentSpace(file, config.sampling)
    kinds = {kind.what: kind for kind in of_pixels}
    if pixels[1] not in kinds:
        raise InputError(
            f"config.model.autoencoder={pixels[0]!r} is of upsamplers alone, what else is denoised "
            f"has no frames to be added to: give a file, or {' or '.join(kinds)}"
        )
    space = kinds[pixels[1]](int(pixels[2] or 1))
    if channels != space.channels:
        raise InputError(
            f"config.model.network.out_channels={channels}: {space.name} has {space.channels} "
            f"channels, set it to {space.channels}"
        )
    if config.data.height % space.block or config.data.width % space.block:
        raise InputError(
            f"config.data.height and width, {config.data.height}x{config.data.width}, must be "
            f"multiples of {space.block}, the blocks of {space.name}"
        )
    return space
