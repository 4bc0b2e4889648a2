"""Inception-v3 as a table: which layers follow each other, and which stand side by side.

A block is its branches, concatenated on channels; a branch is a row of layers. The names are those
of torchvision's modules, because the weights come by them.

Source: Szegedy et al., arXiv:1512.00567, Fig. 5 to 7 and 10.
"""

from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution with a ReLU; `same` pads with zeros to the size of its input."""

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True


class MaxPool(NamedTuple):
    """The maximum of 3x3 pixels; padded at stride 1, not at stride 2."""

    stride: int = 2


class AvgPool(NamedTuple):
    """The mean of those of 3x3 pixels that are in the image."""


class Split(NamedTuple):
    """Branches side by side; each is a row of layers."""

    branches: tuple[tuple, ...]


def _pooled(features: int, pool: MaxPool | AvgPool = AvgPool()) -> tuple:  # noqa: B008
    return (pool, Conv("branch_pool", features))


def _double(*features: int) -> tuple:
    """Return the branch of two 3x3 convolutions, behind one that narrows."""
    first, second, third = features
    return (
        Conv("branch3x3dbl_1", first),
        Conv("branch3x3dbl_2", second, (3, 3)),
        Conv("branch3x3dbl_3", third, (3, 3)),
    )


def _block_a(pooled: int) -> Split:
    five = (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5)))
    return Split(((Conv("branch1x1", 64),), five, _double(64, 96, 96), _pooled(pooled)))


def _block_b() -> Split:
    *double, last = _double(64, 96, 96)
    single = Conv("branch3x3", 384, (3, 3), 2, same=False)
    return Split(((single,), (*double, last._replace(stride=2, same=False)), (MaxPool(),)))


def _block_c(width: int) -> Split:
    seven = (
        Conv("branch7x7_1", width),
        Conv("branch7x7_2", width, (1, 7)),
        Conv("branch7x7_3", 192, (7, 1)),
    )
    double = (
        Conv("branch7x7dbl_1", width),
        Conv("branch7x7dbl_2", width, (7, 1)),
        Conv("branch7x7dbl_3", width, (1, 7)),
        Conv("branch7x7dbl_4", width, (7, 1)),
        Conv("branch7x7dbl_5", 192, (1, 7)),
    )
    return Split(((Conv("branch1x1", 192),), seven, double, _pooled(192)))


def _block_d() -> Split:
    three = (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2, same=False))
    seven = (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, (1, 7)),
        Conv("branch7x7x3_3", 192, (7, 1)),
        Conv("branch7x7x3_4", 192, (3, 3), 2, same=False),
    )
    return Split((three, seven, (MaxPool(),)))


def _block_e(pool: MaxPool | AvgPool) -> Split:
    def wide_and_tall(name: str) -> Split:
        return Split(((Conv(f"{name}a", 384, (1, 3)),), (Conv(f"{name}b", 384, (3, 1)),)))

    three = (Conv("branch3x3_1", 384), wide_and_tall("branch3x3_2"))
    *double, _ = _double(448, 384, 384)
    double = (*double, wide_and_tall("branch3x3dbl_3"))
    return Split(((Conv("branch1x1", 320),), three, double, _pooled(192, pool)))


STEM = (
    Conv("Conv2d_1a_3x3", 32, (3, 3), 2, same=False),
    Conv("Conv2d_2a_3x3", 32, (3, 3), same=False),
    Conv("Conv2d_2b_3x3", 64, (3, 3)),
    MaxPool(),
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, (3, 3), same=False),
    MaxPool(),
)
BLOCKS = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": _block_b(),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": _block_d(),
    "Mixed_7b": _block_e(AvgPool()),
    "Mixed_7c": _block_e(MaxPool(stride=1)),
}
