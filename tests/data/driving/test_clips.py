import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.driving import boxes, render
from vldm_jax.data.driving.clips import LABELS, render_clip
from vldm_jax.data.driving.world import make_spec

SMALL = dict(num_frames=3, size=(64, 128))
NIGHT_SEED, DAY_SEED = 37, 4


@pytest.fixture(scope="module")
def day():
    pytest.importorskip("panda3d")
    return render_clip(DAY_SEED, **SMALL)


@pytest.fixture(scope="module")
def night():
    pytest.importorskip("panda3d")
    return render_clip(NIGHT_SEED, **SMALL)


def test_shapes_types_and_ranges(day):
    assert day["video"].shape == (3, 64, 128, 3) and day["video"].dtype == np.uint8
    assert day["labels"].shape == (len(LABELS),) and day["labels"].dtype == np.float32
    assert len(day["boxes"]) == len(day["ids"]) == 3
    for found, ids in zip(day["boxes"], day["ids"], strict=True):
        assert found.shape == (len(ids), 4) and 0 not in ids and len(set(ids)) == len(ids)
        assert np.all((found >= 0) & (found <= 1) & np.isfinite(found))
        assert np.all(found[:, 2:] > found[:, :2])


def test_labels(day, night):
    assert day["labels"][0] == 0 and night["labels"][0] == 1
    assert make_spec(NIGHT_SEED).night and not make_spec(DAY_SEED).night
    for clip in (day, night):
        assert abs(clip["labels"][1] - np.mean([len(ids) for ids in clip["ids"]])) <= 0.5


def test_night_is_darker(day, night):
    assert night["video"].mean() < 0.5 * day["video"].mean()


def test_the_scene_moves_and_near_things_move_more(day):
    change = np.abs(np.diff(day["video"].astype(float), axis=0)).mean(axis=(0, 2, 3))
    sky, road = change[:20].mean(), change[34:56].mean()
    assert road > 0.5 and road > sky


def test_same_seed_same_bytes_here_and_in_another_process(day):
    again = render_clip(DAY_SEED, **SMALL)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = pool.submit(render_clip, DAY_SEED, **SMALL).result()
    for other in (again, elsewhere):
        assert other["video"].tobytes() == day["video"].tobytes()
        for mine, theirs in zip(day["boxes"], other["boxes"], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_other_seeds_other_clips(day, night):
    assert not np.array_equal(day["video"], night["video"])


def test_cars_are_drawn_exactly_where_their_boxes_are(monkeypatch):
    """What changes when the cars are taken away lies inside their boxes, and fills them."""
    pytest.importorskip("panda3d")
    monkeypatch.setattr(boxes, "MIN_HEIGHT", 1e-3)
    monkeypatch.setattr(boxes, "MIN_WIDTH", 0.0)
    monkeypatch.setattr(boxes, "MIN_SHARE", 0.0)
    height, width = 128, 256
    arguments = dict(num_frames=1, size=(height, width))
    seed = DAY_SEED
    clip = render_clip(seed, **arguments)
    monkeypatch.setattr("vldm_jax.data.driving.clips.CAR_SIGHT", -12.0)
    empty = render_clip(seed, **arguments)
    changed = np.any(clip["video"][0] != empty["video"][0], axis=-1)
    allowed = np.zeros_like(changed)
    for x0, y0, x1, y1 in clip["boxes"][0] * np.array([width, height, width, height]):
        # The shadow reaches a little beyond the body: 0.15 m beside and 0.2 m behind it.
        margin = 1.0 + 0.12 * (x1 - x0)
        left, right = int(x0 - margin), int(np.ceil(x1 + margin))
        allowed[int(y0 - 0.5) : int(np.ceil(y1 + margin)), max(left, 0) : right] = True
    assert not np.any(changed & ~allowed)
    x0, y0, x1, y1 = max(clip["boxes"][0], key=lambda box: np.prod(box[2:] - box[:2]))
    inside = changed[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]
    # The largest car touches all four sides of its box, to within two pixels.
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert rows[0] <= 2 and columns[0] <= 2
    assert rows[-1] >= len(inside) - 3 and columns[-1] >= inside.shape[1] - 3


@pytest.mark.parametrize(
    "changes,message",
    [
        (dict(num_frames=0), "num_frames=0 >= 1"),
        (dict(fps=0.0), "fps=0.0 > 0"),
        (dict(seed=-1), "seed=-1 >= 0"),
        (dict(size=(63, 128)), "even and at least 16 pixels, not 63x128"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(InputError, match=message):
        render_clip(**(dict(seed=1, num_frames=1) | changes))


def test_without_panda3d_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "panda3d", None)
    render.load_panda3d.cache_clear()
    try:
        with pytest.raises(InputError, match=r"pip install 'vldm_jax\[sim\]'"):
            render.load_panda3d()
    finally:
        render.load_panda3d.cache_clear()
