"""Explicit broadcasting: an array over the leading axes, made ready to multiply a larger one."""

from vldm_jax.typing import Array, Shaped


def expand_like(a: Shaped[Array, "..."], x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """Return `a` with axes of size 1 appended until it has as many as `x`.

    Args:
        a: array over the leading axes of `x`: () a scalar, (b) one value a sample, (b t) one a
            frame; an axis may have size 1.
        x: the array that it will be combined with; only its shape is used.

    Raises:
        ValueError: if an axis of `a` is neither 1 nor that of `x` (for instance one value a sample
            for another batch size), which plain broadcasting might let pass on the wrong axis.
    """
    leading = x.shape[: a.ndim]
    if a.ndim > x.ndim or any(m not in (1, n) for m, n in zip(a.shape, leading, strict=True)):
        raise ValueError(f"{a.shape} does not lead {x.shape}: expected sizes 1 or {leading}")
    return a.reshape(a.shape + (1,) * (x.ndim - a.ndim))
