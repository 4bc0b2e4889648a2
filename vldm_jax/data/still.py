"""Still images from files: PNG, JPEG, WebP."""

import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from vldm_jax.core.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def is_still(path: str) -> bool:
    """Return whether a file's name is that of an image."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def read_still(path: str) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels of an image, upright.

    Raises:
        InputError: if it is missing or no image that can be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}): give another") from error
