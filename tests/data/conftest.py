import json

import pytest
from synthetic_videos import scene

from vldm_jax.data.write import write_video


@pytest.fixture
def clips(tmp_path):
    """Three 2-second clips at 30 fps with labels, and nothing wrong with them."""
    folder = tmp_path / "clips"
    for number, name in enumerate(("a.mp4", "b.mp4", "sub/c.mp4")):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        write_video(folder / name, scene(number, 60), 30)
    labels = {"names": ["night", "cars"], "clips": {"a.mp4": [1, 4], "sub/c.mp4": [0, None]}}
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder
