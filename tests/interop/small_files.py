"""Public checkpoints of a few kilobytes, made without torch: zeros in the layout of an export."""

import functools
import json

import jax
import numpy as np
from safetensors.numpy import load_file, save_file

from vldm_jax.interop import export
from vldm_jax.models import table
from vldm_jax.models.network import CLASSES

UNET = {
    "channels": [32, 64],
    "attention": [True, False],
    "layers_per_level": 1,
    "context_dim": 8,
    "heads": 8,
    "head_dim": None,
}
FIELDS = {
    "unet": UNET,
    "video_unet": {**UNET, "temporal": {"family": "video_ldm"}},
    "autoencoder": {"base": 32, "mult": [1, 2], "blocks": 1},
    "text_encoder": {
        "width": 32,
        "layers": 1,
        "heads": 2,
        "mlp_width": 48,
        "vocab_size": 50,
        "max_tokens": 7,
    },
    "temporal": {**UNET, "temporal": {"family": "animatediff"}},
}


def network(kind, **changes):
    """A network of a kind whose parameters are all zero."""
    module = table.module_of(kind, FIELDS[kind] | changes, np.float32)
    params = _shapes(module)
    if kind == table.TEMPORAL:
        params = table.temporal_part(params)
    return CLASSES[kind](
        kind=kind,
        module=None if kind == table.TEMPORAL else module,
        params=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params),
        fields=table.fields_of(module),
    )


@functools.cache
def _shapes(module):
    return table.abstract_params(module, *module.smallest_inputs(4))


def write(kind, folder):
    """Export a network; return its file of weights."""
    export(network(kind), folder)
    return next(folder.glob("*.safetensors"))


def change_tensors(file, change):
    """Let `change` edit the arrays of a file, which is written anew."""
    arrays = load_file(file)
    change(arrays)
    save_file(arrays, file)


def change_config(file, **entries):
    """Set entries of the config.json beside a file of weights."""
    path = file.parent / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def change_header(file, change):
    """Let `change` edit the header of a file, a nested dict; the data stays."""
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    text = json.dumps(change(header) or header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def temporal_of(video):
    """The temporal layers of a video U-Net alone."""
    return CLASSES[table.TEMPORAL](
        kind=table.TEMPORAL,
        module=None,
        params=table.temporal_part(video.params),
        fields=video.fields,
    )
