"""Names that wrappers of PyTorch put into keys: DataParallel, compile, FSDP, DeepSpeed."""

import re
from collections.abc import Mapping

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor

_NAMES = (
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
)
# Before each part of a key, as often as it was wrapped; no public network has such parts.
_WRAPPERS = re.compile(rf"(?<![^.])(?:(?:{'|'.join(_NAMES)})\.)+")


def unwrapped(file: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the keys that they have without wrappers.

    Args:
        file: for messages.
        tensors: of the whole file.

    Raises:
        InputError: if two keys become one.
    """
    out: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = _WRAPPERS.sub("", key)
        if name in out:
            raise InputError(
                f"{file} holds {out[name].key!r} and {tensor.key!r}, which differ by a wrapper's "
                "name only: keep one of them"
            )
        out[name] = tensor
    return out
