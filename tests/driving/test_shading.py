import numpy as np
import pytest

from vldm_jax.driving.shading import (
    DEPTH_OF_CODE,
    EMISSIVE,
    FAR,
    FOG_LENGTH,
    FOG_OF_CODE,
    LEVELS,
    SKY,
    Glow,
    Shader,
    average,
    encode_alpha,
)
from vldm_jax.driving.sky import NIGHT, WARM

H, W = 32, 64


def render(look, night, code, color=200, glows=(), sky=0.0, pitch=0.0):
    shader = Shader(look, night, (H, W), 80.0, 2)
    buffer = np.zeros((H, W, 4), np.uint8)
    buffer[..., :3], buffer[..., 3] = color, code
    return shader.shade(buffer, np.full((3, H, W), sky, np.float32), pitch, list(glows))


@pytest.mark.parametrize("emissive", [False, True])
def test_depth_survives_the_code(emissive):
    depth = np.linspace(0.0, 300.0, 1000)
    code = encode_alpha(depth, np.full(1000, emissive))
    # One level of fog is d(fog)/dz = exp(-z / L) / L apart; rounding costs half of it.
    level = FOG_LENGTH * (1 - np.exp(-FAR / FOG_LENGTH)) / LEVELS * np.exp(depth / FOG_LENGTH)
    assert np.all(np.abs(DEPTH_OF_CODE[code] - depth) <= 0.55 * level)
    assert np.all((code >= EMISSIVE) == emissive) and np.all(code != SKY)


def test_fog_goes_from_nothing_to_all():
    code = encode_alpha(np.array([0.0, FAR, 2 * FAR]), np.zeros(3, bool))
    np.testing.assert_allclose(FOG_OF_CODE[code], [0.0, 1.0, 1.0])


def test_far_things_take_the_colour_of_the_horizon():
    code = int(encode_alpha(np.array([FAR]), np.zeros(1, bool))[0])
    picture = render(WARM, False, code)
    np.testing.assert_allclose(picture[0, 0] / 255, WARM.horizon, atol=0.003)


def test_sky_shows_where_nothing_was_drawn():
    assert np.all(render(WARM, False, SKY, sky=0.5)[:4] == 128)


def test_night_darkens_all_but_what_shines():
    near = encode_alpha(np.full(2, 60.0), np.array([False, True]))
    dark, lit = (render(NIGHT, True, int(code))[0, 0] for code in near)
    day = render(WARM, False, int(near[0]))[0, 0]
    assert dark.mean() < 0.75 * day.mean() and lit.mean() > dark.mean()


def test_head_lights_shine_on_the_road_ahead_and_not_at_the_side():
    code = int(encode_alpha(np.array([14.0]), np.zeros(1, bool))[0])
    row = render(NIGHT, True, code, color=60)[12].mean(axis=-1)
    assert row[W // 4] > 1.2 * row[0]


def test_a_hidden_lamp_has_no_halo():
    wall = int(encode_alpha(np.array([10.0]), np.zeros(1, bool))[0])
    # Dark, so that the halo is not lost in a picture that our head lights have filled up.
    glow = dict(x=32.0, y=10.0, radius=4.0, color=(0.5, 0.5, 0.5))
    plain = render(NIGHT, True, wall, color=20)
    hidden = render(NIGHT, True, wall, color=20, glows=[Glow(depth=80.0, **glow)])
    shown = render(NIGHT, True, wall, color=20, glows=[Glow(depth=9.0, **glow)])
    np.testing.assert_array_equal(hidden, plain)
    assert shown[5, 16].mean() > plain[5, 16].mean() + 60
    np.testing.assert_array_equal(shown[:, 0], plain[:, 0])


def test_average_is_the_mean_of_blocks():
    plane = np.random.default_rng(0).random((6, 9))
    expected = plane.reshape(2, 3, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(average(plane, 3), expected)
