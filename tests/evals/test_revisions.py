"""What is computed of a clip is what the revision of an extractor stands for.

Numbers of clips are kept by their recipe. Should this test fail by a change that means to change
them, give the extractor one more `revision`, and its line the numbers that the message tells: then
nobody's kept numbers are taken for those of the new code. The numbers are the mean and the
deviation over all rows of one small moving scene; that they are right is for the tests of each.
"""

import numpy as np
import pytest
from moving_scenes import scene

from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.extract import Extractor, extract
from vldm_jax.evals.extractors import EXTRACTORS, make_extractor
from vldm_jax.models.packages import Packaged

# name: (revision, mean, deviation); of those whose weights are to be had
LIGHT = {
    "motion": (1, 93.9879, 124.709),
    "look": (1, 18.9888, 22.1206),
    "lines": (1, -0.177248, 0.382572),
    "squared_error": (1, 0.11237, 0.000819638),
    "ssim": (1, 0.21912, 0.0375333),
    "lpips": (1, 0.267829, 0.0311895),
    "error_change": (1, 0.0908709, 0.000381546),
}
HEAVY = {
    "flow": (1, 1.16141, 1.26761),
    "efficientnet_lite0": (1, 0.0864132, 0.396829),
    "i3d": (1, 0.00356683, 1.65771),
}
WEIGHTS_OF_USERS = {"inception", "c3d", "clip"}
OF_ITS_OWN_WORLD = {"detector", "boxes"}  # test_detector_figures


def found(name):
    extractor = make_extractor(name)
    clips = array_clips(scene(4, 0)[None], 8)
    if extractor.beside:
        clips = clips.with_beside(extractor.beside, lambda number: scene(4, 1))
    rows = extract(extractor, clips, cache=None).rows
    return extractor.revision, float(rows.mean()), float(rows.std())


def news(name, told):
    """Return the line that an extractor should have here, if it is another."""
    now = found(name)
    text = f'"{name}": ({now[0]}, {now[1]:.6g}, {now[2]:.6g}), a new revision if numbers changed'
    same = now[0] == told[0] and np.allclose(now[1:], told[1:], rtol=1e-3, atol=1e-4)
    return None if same else text


@pytest.mark.parametrize("name", LIGHT)
def test_numbers_are_those_of_their_revision(name):
    assert news(name, LIGHT[name]) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_numbers_of_large_networks_are_those_of_their_revision(name):
    assert news(name, HEAVY[name]) is None


def test_every_extractor_whose_weights_are_to_be_had_is_held():
    assert EXTRACTORS.keys() == LIGHT.keys() | HEAVY.keys() | WEIGHTS_OF_USERS | OF_ITS_OWN_WORLD


def one(revision=1, **recipe):
    def means(videos):
        return revision * videos.mean(axis=(2, 3)).astype(np.float32)

    return Extractor(name="means", compute=means, recipe=recipe, revision=revision, batch=1)


def test_kept_numbers_of_another_revision_are_not_taken(tmp_path):
    clips = array_clips(scene(4, 0)[None], 8)
    first = extract(one(), clips, cache=tmp_path)
    second = extract(one(revision=2), clips, cache=tmp_path)
    assert second.recalled == 0 and extract(one(), clips, cache=tmp_path).recalled == 1
    np.testing.assert_allclose(second.rows, 2 * first.rows)


def test_numbers_of_other_weights_or_another_package_lie_elsewhere():
    pins = [Packaged("Net", f"net=={n}", "net", "file", sha) for n, sha in ((1, "a"), (2, "a"))]
    pins.append(Packaged("Net", "net==1", "net", "file", "b"))
    extractors = [one(**pin.recipe) for pin in pins]
    assert len({extractor.folder for extractor in extractors}) == 3
    assert extractors[0].made_by == {"revision": 1, "weights": "a", "package": "net==1"}
