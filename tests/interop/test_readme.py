"""The lines of docs/interop.md do what they say, on a small Stable Diffusion folder."""

import re
from pathlib import Path

import pytest
import reference

from vldm_jax.interop import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline = tmp_path / "stable-diffusion-2-1"
    reference.sd2().save_pretrained(pipeline / "unet")
    (pipeline / "model_index.json").write_text("{}")
    return tmp_path


def check(video):
    assert video.kind == "video_unet"
    model, report = reference.diffusers.UNetSpatioTemporalConditionModel.from_pretrained(
        "exported", output_loading_info=True
    )
    assert not any(report.values())
    # Fresh temporal layers change nothing: each frame is what the image model makes of it.
    image = load("stable-diffusion-2-1", "unet")
    inputs = reference.INPUTS
    frames = [image(inputs.video[:, t], inputs.time, inputs.context) for t in range(3)]
    together = video(inputs.video, inputs.time, inputs.context)
    for t, frame in enumerate(frames):
        reference.assert_equal(together[:, t], frame)


def test_the_example_of_the_documentation(folder):
    text = (ROOT / "docs" / "interop.md").read_text()
    scope = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], scope)
    check(scope["video"])
