import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.driving import render
from vldm_jax.driving.clips import LABELS, _Scene, render_clip
from vldm_jax.driving.world import make_spec

SMALL = dict(num_frames=3, size=(64, 128))
NIGHT_SEED, DAY_SEED = 37, 4


@pytest.fixture(scope="module")
def day(renderer):
    return render_clip(DAY_SEED, **SMALL)


@pytest.fixture(scope="module")
def night(renderer):
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


@pytest.mark.parametrize("seed", [4, 0, 3])
def test_a_car_is_drawn_exactly_where_its_box_is(renderer, monkeypatch, seed):
    """What changes when one car is taken away lies inside its box and touches its sides."""
    height, width = 128, 256

    def render(*cars):
        monkeypatch.setattr(_Scene, "_in_sight", lambda scene, i: list(cars))
        return render_clip(seed, num_frames=1, size=(height, width))

    everyone = render_clip(seed, num_frames=1, size=(height, width))
    area = np.prod(everyone["boxes"][0][:, 2:] - everyone["boxes"][0][:, :2], axis=1)
    car = int(everyone["ids"][0][np.argmax(area)])
    alone, empty = render(car), render()
    assert alone["ids"][0].tolist() == [car] and empty["ids"][0].size == 0
    x0, y0, x1, y1 = alone["boxes"][0][0] * np.array([width, height, width, height])
    changed = np.any(alone["video"][0] != empty["video"][0], axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    beyond = np.array([x0 - columns[0], columns[-1] + 1 - x1, rows[-1] + 1 - y1])
    # The shadow reaches 0.15 m beside and 0.2 m behind the body of 1.8 m; nothing lies above it.
    assert abs(rows[0] - y0) <= 1.5
    assert np.all((beyond >= -1.5) & (beyond <= 1.5 + 0.1 * (x1 - x0)))


@pytest.mark.parametrize(
    "changes,message",
    [
        (dict(num_frames=0), "num_frames=0 >= 1"),
        (dict(fps=0.0), "fps=0.0 > 0"),
        (dict(fps=float("nan")), "fps=nan > 0"),
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


def test_without_libx11_the_error_names_the_package(monkeypatch):
    """panda3d then imports, but gives no pipe for its CPU renderer."""
    no_pipe = SimpleNamespace(make_module_pipe=lambda name: None)
    core = SimpleNamespace(
        GraphicsEngine=lambda: None,
        GraphicsPipeSelection=SimpleNamespace(get_global_ptr=lambda: no_pipe),
    )
    monkeypatch.setattr(render, "load_panda3d", lambda: core)
    with pytest.raises(InputError, match="apt-get install libx11-6") as caught:
        render.Canvas(32, 64)
    assert "\n" not in str(caught.value)
