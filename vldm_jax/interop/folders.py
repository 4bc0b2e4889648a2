"""Where in a folder the networks are: a pipeline's sub-folders, a training's, or one file."""

from pathlib import Path

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.pickles import SUFFIXES as PICKLES
from vldm_jax.interop.layouts.original import no_average

PARTS = ("unet", "vae", "text_encoder", "motion_adapter")  # sub-folders that hold networks
AVERAGE = "unet_ema"  # beside "unet" in a checkpoint of diffusers' training scripts
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")


def part_folders(root: Path, *, ema: bool) -> dict[str, Path]:
    """Return the sub-folders that hold networks by the part's name; {} if it is no such folder.

    Args:
        root: a pipeline with model_index.json, or a folder with configs in its sub-folders only.
        ema: take the U-Net's moving average in its place.

    Raises:
        InputError: if a pipeline has none of them, or there is no average.
    """
    folders = {name: root / name for name in PARTS if (root / name).is_dir()}
    if not (root / "model_index.json").is_file():
        configs = any((folder / "config.json").is_file() for folder in folders.values())
        if not configs or (root / "config.json").is_file():
            return {}
    if not folders:
        raise InputError(f"{root} has none of the sub-folders {', '.join(PARTS)}")
    if ema:
        if not (root / AVERAGE).is_dir():
            raise no_average(str(root))
        folders["unet"] = root / AVERAGE
    return folders


def weights_file(folder: Path) -> Path:
    """Return the one file of weights, or the index of several, in a folder.

    Raises:
        InputError: if there is none, or it is not clear which.
    """
    for name in (WEIGHTS, *(f"{stem}.safetensors" for stem in _STEMS)):
        if (folder / name).is_file():
            return folder / name
    for pattern in ("*.safetensors.index*.json", "*.safetensors", *(f"*{end}" for end in PICKLES)):
        files = sorted(folder.glob(pattern))
        if len(files) > 1:
            raise InputError(f"{folder} holds several files, {files[0].name} and more: name one")
        if files:
            return files[0]
    raise InputError(f"{folder} holds no weights: no .safetensors and no model_index.json")
