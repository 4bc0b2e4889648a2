"""What a network denoises: latents of a frozen autoencoder, or pixels.

    config.model.autoencoder = FILE        z = s E(x)                latent diffusion
    config.model.autoencoder = "pixels"    z = x, in [-1, 1]         the pixel-space baseline

A network belongs to the space that it was trained in, and its file says which.

Source: Align your Latents, arXiv:2304.08818, Sec. 3 and Table 1 (right).
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.decoding import InParts
from vldm_jax.stages.latents import Latents, check_size, module_of, parts_of, to_pixels
from vldm_jax.stages.origin import check_latents, fingerprint_of
from vldm_jax.typing import Array, Float, Key, PyTree

PIXELS = "pixels"


class Space(abc.ABC):
    """A space that networks denoise in.

    Attributes:
        files: weights files that make it, by their key in `config.model`.
    """

    files: Mapping[str, WeightsFile]

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
        return self._latents.needed

    def about(self) -> dict[str, str]:
        """Return the fingerprint of the latents, and the hash of the file."""
        return {
            "latents": fingerprint_of(self.autoencoder),
            "autoencoder_sha256": self.autoencoder.sha256,
        }

    def check(self, file: WeightsFile) -> None:
        """Raise if the network was trained on other latents, or on pixels."""
        if file.meta.get("latents") == PIXELS:
            raise InputError(
                f"{file.path} was trained on pixels: it goes with no autoencoder, "
                f"--config.model.autoencoder={PIXELS}"
            )
        check_latents(file, self.autoencoder)


class PixelSpace(Space):
    """Pixels in [-1, 1]."""

    files: Mapping[str, WeightsFile] = {}
    parts = InParts(frames=16)

    def given(self) -> PyTree:
        """Return nothing."""
        return {}

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (h, w, 3)."""
        return height, width, 3

    def encode(
        self, params: PyTree, batch: dict[str, Any], frames: str, key: Key
    ) -> Float[Array, "b *t h w 3"]:
        """Return the frames."""
        del params, key
        return to_pixels(batch[frames])

    def decode(self, params: PyTree, z: Float[Array, "b *t h w 3"]) -> Float[Array, "b *t h w 3"]:
        """Return the frames."""
        del params
        return z

    def about(self) -> dict[str, str]:
        """Return that it was trained on pixels."""
        return {"latents": PIXELS}

    def check(self, file: WeightsFile) -> None:
        """Raise if the network was trained on latents."""
        if file.meta.get("latents", PIXELS) != PIXELS:
            raise InputError(
                f"{file.path} was trained on latents, and config.model.autoencoder={PIXELS!r}: "
                "give the autoencoder that it was trained with, --config.model.autoencoder=FILE"
            )


def space_of(config: ConfigDict, channels: int, find: Callable[[], WeightsFile]) -> Space:
    """Return the space that a config means.

    Args:
        config: of the experiment.
        channels: that the network predicts.
        find: returns the autoencoder's file.

    Raises:
        InputError: if the space is not of frames of `config.data`, or has other channels.
    """
    if config.model.autoencoder != PIXELS:
        file = find()
        check_size(file, config.data, channels)
        return LatentSpace(file, config.sampling)
    if channels != 3:
        raise InputError(
            f"config.model.network.out_channels={channels}: pixels have 3 channels, set it to 3"
        )
    return PixelSpace()
