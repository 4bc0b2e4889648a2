"""PyTorch files, which are pickles: only through PyTorch's own weights-only loader, if installed.

It refuses whatever is not a tensor or a plain container, before anything of it is run.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor, constant, reason

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
# Of PyTorch's zip archives, and of pickles of protocols 2 to 5.
STARTS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


# Named in the published files of Stable Diffusion 1.x, as a key beside the weights.
_LEFT_BEHIND = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


class _Inert:
    """Stands for a class that a file names and nothing here needs."""


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch file by name, those of nested tables as "table.name".

    Raises:
        InputError: if PyTorch is not installed, refuses the file, or finds no table there.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} is a pickle, which only PyTorch's weights-only loader may open: install torch,"
            " or convert it where torch is: safetensors.torch.save_file(torch.load(FILE, "
            "weights_only=True)['state_dict'], 'model.safetensors')"
        ) from error
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"  # the format before PyTorch 1.6 cannot be mapped
    inert = [(_Inert, name) for name in _LEFT_BEHIND]
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(inert):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise InputError(
            f"{path} is no PyTorch file of tensors alone ({_why(error)}): it is not "
            "loaded; get the .safetensors of this model"
        ) from error
    while isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds no table of named tensors")
    leaves = sorted(_leaves(loaded, ""), key=lambda leaf: leaf[0])
    return {key: _from_torch(path, key, value) for key, value in leaves}


def _why(error: Exception) -> str:
    """Return why torch refuses a file, without its advice to trust the file."""
    text = " ".join(str(error).split())
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {wanted[1]}"
    if refused := re.search(r"WeightsUnpickler error: (.+?)(?= Check the|\. |$)", text):
        return refused[1][:160]
    return re.split(r"[.:] ", f"{reason(error)} ")[0].rstrip(". ")


def _leaves(table: dict[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of nested tables; what else a training left there is not looked at."""
    import torch

    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value


def _from_torch(path: Path, key: str, value: Any) -> Tensor:
    import torch

    half = value.dtype == torch.bfloat16  # NumPy has no name for it
    try:
        array = value.detach().contiguous()
        array = array.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if half else array.numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, 8 bits
        raise InputError(
            f"{path}: {key!r} has the type {value.dtype}, which cannot be read"
        ) from error
    return constant(str(path), key, array)
