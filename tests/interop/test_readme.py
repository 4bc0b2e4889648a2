"""The lines of docs/interop.md do what they say, on a small Stable Diffusion folder."""

import dataclasses
import re
from pathlib import Path

import pytest
import reference

from vldm_jax.interop import load
from vldm_jax.models.table import spatial_part

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline = tmp_path / "stable-diffusion-2-1"
    unet = reference.sd2(**reference.ONE_LEVEL, attention_head_dim=2)
    unet.save_pretrained(pipeline / "unet")
    (pipeline / "model_index.json").write_text("{}")
    return tmp_path


def check(video):
    assert video.kind == "video_unet"
    model, report = reference.diffusers.UNetSpatioTemporalConditionModel.from_pretrained(
        "exported", output_loading_info=True
    )
    assert not any(report.values())
    # The image model as it was. That fresh layers change nothing of it, test_export_video.py sees.
    image = load("stable-diffusion-2-1", "unet")
    spatial = dataclasses.replace(image, params=spatial_part(video.params))
    reference.assert_same_params(spatial, image)


@pytest.mark.slow
def test_the_example_of_the_documentation(folder):
    text = (ROOT / "docs" / "interop.md").read_text()
    scope = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], scope)
    check(scope["video"])
