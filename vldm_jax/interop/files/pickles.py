"""PyTorch files, which are pickles: only through PyTorch's own weights-only loader, if installed.

It refuses whatever is not a tensor or a plain container, before anything of it is run. What it does
not bound is looked at first: a zip archive may only store (PyTorch never compresses), and of the
pickle the instructions are counted and the names read without running any. What training leaves
beside the weights (numbers of NumPy, a callback, settings) becomes an object that does nothing.
"""

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor, constant, reason

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
# Of PyTorch's zip archives, and of pickles of protocols 2 to 5.
STARTS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
MOST_INSTRUCTIONS = 1 << 19  # a Stable Diffusion checkpoint with all its averages has 60,000
MOST_NAMES = 1 << 17
DEEPEST = 64
_PICKLES = 5  # in a row, in a file from before PyTorch 1.6: magic number ... storages' keys

# Modules of classes that may lie beside the weights; none of them is imported or called.
_BESIDE = re.compile(
    r"(numpy|pytorch_lightning|lightning|omegaconf|argparse|pathlib|datetime|typing|copyreg)\.|"
    r"collections\.defaultdict$|builtins\.(object|list|dict|tuple|int|float|str|bool)$"
)
_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as Python 2 wrote them
_ENDLESS = ("bytearray",)  # makes as much memory as a number says


class _Inert:
    """Stands for a class that a file names and nothing here needs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def _table(*args: Any) -> dict[Any, Any]:
    """Stand for a table with a default, which may have entries."""
    return {}


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
    try:
        names = _names(path, zipped=zipped)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _refused(path, error) from error
    beside = [name for name in names if _BESIDE.match(name)]
    inert = [(_table if name.endswith("defaultdict") else _Inert, name) for name in beside]
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(inert):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise _refused(path, error) from error
    for _ in range(DEEPEST):  # a table may hold itself
        if not (isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict)):
            break
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds no table of named tensors")
    return {key: _from_torch(path, key, value) for key, value in sorted(_leaves(path, loaded))}


def _names(path: Path, *, zipped: bool) -> set[str]:
    """Return what a file would import, "module.name", its instructions read and none run.

    Raises:
        InputError, ValueError: if it is damaged or larger inside than outside.
    """
    if not zipped:
        with path.open("rb") as file:
            return _names_in(file, _PICKLES)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError("its archive is compressed, which PyTorch's are not")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise InputError("its archive says that it holds more than it does")
        for entry in entries:
            if entry.filename.endswith("/data.pkl"):
                with archive.open(entry) as file:
                    return _names_in(file, 1)
    raise InputError("its archive has no data.pkl")


def _names_in(file: io.BufferedIOBase, pickles: int) -> set[str]:
    names, count = set(), 0
    for _ in range(pickles):
        if count and not file.read(1):  # a pickle alone, which PyTorch does not write
            break
        if count:
            file.seek(-1, 1)
        for code, argument, _ in pickletools.genops(file):
            count += 1
            if count > MOST_INSTRUCTIONS:
                raise InputError(f"its pickle has more than {MOST_INSTRUCTIONS:,} instructions")
            if code.name == "GLOBAL":
                module, _, name = argument.partition(" ")
                names.add(f"{_MODULES.get(module, module)}.{name}")
    if endless := sorted(name for name in names if name.endswith(_ENDLESS)):
        raise InputError(f"it asks for {endless[0]}")
    return names


def _refused(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is no PyTorch file of tensors alone ({_why(error)}): it is not loaded; get the "
        ".safetensors of this model"
    )


def _why(error: Exception) -> str:
    """Return why a file is refused, without torch's advice to trust it."""
    if isinstance(error, InputError):
        return str(error)
    text = " ".join(str(error).split())
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it asks for {wanted[1]}"
    if refused := re.search(r"WeightsUnpickler error: (.+?)(?= Check the|\. |$)", text):
        return refused[1][:160]
    return re.split(r"[.:] ", f"{reason(error)} ")[0].rstrip(". ")


def _leaves(path: Path, table: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of nested tables; what else a training left there is not looked at.

    A table may stand in several places, or inside itself: names are counted, not tables.
    """
    import torch

    level, count = [("", table)], 0
    for _ in range(DEEPEST):
        below = []
        for prefix, table in level:
            count += len(table)
            if count > MOST_NAMES:
                raise InputError(f"{path} holds more than {MOST_NAMES:,} names, tables in tables")
            for name, value in table.items():
                if not isinstance(name, str | int):
                    continue
                if isinstance(value, dict):
                    below.append((f"{prefix}{name}.", value))
                elif isinstance(value, torch.Tensor):
                    yield f"{prefix}{name}", value
        level = below
        if not level:
            return
    raise InputError(f"{path} holds tables in tables, more than {DEEPEST} deep")


def _from_torch(path: Path, key: str, value: Any) -> Tensor:
    """Return a view of a tensor; nothing is copied."""
    import torch

    half = value.dtype == torch.bfloat16  # NumPy has no name for it
    try:
        stored = value.untyped_storage().nbytes()
        array = value.detach()
        array = array.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if half else array.numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised, 8 bits
        raise InputError(
            f"{path}: {key!r} has the type {value.dtype}, which cannot be read"
        ) from error
    if array.nbytes > stored:
        raise InputError(
            f"{path}: {key!r} of shape {array.shape} repeats the few values that the file holds of "
            "it; save it with .contiguous()"
        )
    return constant(str(path), key, array)
