"""A stack of one part as a file, with its weights, untrained."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from small_stages import CONFIGS, config_of, leave, small_words

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import load_config
from vldm_jax.core.files import write_json

CONTEXT = "({'kind': 'context_frames', 'channels': 4},)"


def write_stack(root):
    """Write the files of a stack of 8x8 key frames at 1.875 fps; return its config's."""
    files = {name: root / f"{name}.safetensors" for name in ("autoencoder", "image", "keys")}
    leave(config_of("autoencoder"), files["autoencoder"])
    leave(config_of("image", model={"autoencoder": files["autoencoder"]}), files["image"])
    model = {"autoencoder": files["autoencoder"], "backbone": files["image"], "init": None}
    words = small_words("video")
    words += [f"--config.model.{key}={value}" for key, value in model.items()]
    words += [f"--config.model.network.more_conditions={CONTEXT}"]
    prediction = f"{CONFIGS / 'driving' / 'prediction'}.py:tiny"
    leave(load_config(prediction, words), files["keys"])
    run = root / "run"  # as the best weights of a run lie, with its config
    run.mkdir()
    shutil.copy(files["keys"], run / WEIGHTS)
    write_json(run / "config.json", load_config(prediction, words).to_dict())
    file = root / "stack.py"
    file.write_text(
        "from vldm_jax.config.stack import part, stack_config\n\n\n"
        "def get_config():\n"
        "    config = stack_config()\n"
        "    config.parts.keyframes = part(\n"
        f"        'prediction', {prediction!r}, {str(files['keys'])!r},\n"
        f"        overrides={tuple(word.removeprefix('--config.') for word in words)!r},\n"
        "    )\n"
        "    return config\n"
    )
    return file
