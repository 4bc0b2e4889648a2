import os
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image
from synthetic_videos import scene

from vldm_jax.core.errors import InputError
from vldm_jax.data import write
from vldm_jax.data.write import frame_rate, write_contact_sheet, write_gif, write_video


def read_all(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return stream, frames, np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_video_is_h264_that_browsers_play_and_looks_the_same(tmp_path):
    path, frames = tmp_path / "a.mp4", scene(0, 12)
    write_video(path, frames, 7.5, crf=10)
    stream, decoded, pixels = read_all(path)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert pixels.shape == frames.shape
    # Tagged as what the colours were converted with: BT.601, limited range.
    assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)
    assert psnr(pixels, frames) > 23  # 4:2:0 halves the colour at the blobs' hard edges
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_flat_colours_come_back(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [200, 100, 50]])
    frames = np.zeros((5, 32, 32, 3), np.uint8) + colours[:, None, None].astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames, 5, crf=5)
    _, _, pixels = read_all(tmp_path / "a.mp4")
    assert np.abs(pixels.astype(int) - frames).max() <= 4


@pytest.mark.parametrize("fps", [1.875, 2, 7.5, 24, 29.97, 23.976, 30])
def test_frames_last_one_over_fps(tmp_path, fps):
    write_video(tmp_path / "a.mp4", scene(0, 7, 32, 32), fps)
    _, decoded, _ = read_all(tmp_path / "a.mp4")
    np.testing.assert_allclose([frame.time for frame in decoded], np.arange(7) / fps, atol=1e-3)


def test_frame_rates_are_the_exact_ones():
    assert [str(frame_rate(fps)) for fps in (29.97, 23.976, 30, 1.875)] == [
        "30000/1001",
        "24000/1001",
        "30",
        "15/8",
    ]


def test_odd_sides_get_their_last_row_and_column_twice(tmp_path):
    frames = np.full((3, 31, 47, 3), 128, np.uint8)
    frames[:, -1], frames[:, :, -1] = 250, 250
    write_video(tmp_path / "a.mp4", frames, 5, crf=1)
    _, _, pixels = read_all(tmp_path / "a.mp4")
    assert pixels.shape == (3, 32, 48, 3)
    assert np.abs(pixels[:, -2:].astype(int) - 250).max() < 6
    assert np.abs(pixels[:, :, -2:].astype(int) - 250).max() < 6


def test_lower_crf_is_a_bigger_file(tmp_path):
    sizes = []
    for crf in (5, 40):
        write_video(tmp_path / "a.mp4", scene(0, 10), 10, crf=crf)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[0] > 1.3 * sizes[1]


@pytest.mark.parametrize(
    "width", [144, *(pytest.param(width, marks=pytest.mark.slow) for width in (64, 128))]
)
def test_the_same_frames_are_the_same_bytes_whatever_memory_held_before(tmp_path, width):
    noise = np.random.default_rng(0).integers(0, 20, (30, 32, width, 3), dtype=np.uint8)
    moving = scene(0, 30, 32, width) // 2 + scene(1, 30, 32, width, speed=3) // 4 + noise
    np.save(tmp_path / "frames.npy", moving)
    code = (
        "import sys, numpy; from vldm_jax.data.write import write_video; "
        "write_video(sys.argv[2], numpy.load(sys.argv[1]), 30)"
    )
    for fill in ("1", "85", "170", "255"):
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "frames.npy", tmp_path / f"{fill}.mp4"],
            env=os.environ | {"MALLOC_PERTURB_": fill},
            check=True,
        )
    assert len({path.read_bytes() for path in tmp_path.glob("*.mp4")}) == 1


@pytest.mark.parametrize(
    "name, count, fps, crf, message",
    [
        ("a.avi", 2, 5, 17, "ends in .mp4"),
        ("a.mp4", 0, 5, 17, "no frames"),
        ("a.mp4", 2, 0, 17, "fps must be positive"),
        ("a.mp4", 2, float("nan"), 17, "fps must be positive"),
        ("a.mp4", 2, 5, 60, "crf"),
    ],
)
def test_bad_arguments_are_one_clear_line_and_leave_nothing(
    tmp_path, name, count, fps, crf, message
):
    with pytest.raises(InputError, match=message) as caught:
        write_video(tmp_path / name, scene(0, 4)[:count], fps, crf=crf)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_reads_wrong_is_not_kept(tmp_path, monkeypatch):
    encode = write._encode
    monkeypatch.setattr(write, "_encode", lambda c, frames, *rest: encode(c, frames[:-1], *rest))
    with pytest.raises(OSError, match="wrote .* reads"):
        write_video(tmp_path / "a.mp4", scene(0, 4), 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [7.5, 8, 30])
def test_gif_plays_at_its_mean_rate_and_loops(tmp_path, fps):
    frames = scene(0, 20)
    write_gif(tmp_path / "a.gif", frames, fps)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 20 and image.info["loop"] == 0
        total = 0
        for index in range(20):
            image.seek(index)
            total += image.info["duration"]
            got = np.asarray(image.convert("RGB")).astype(float)
            assert np.abs(got - frames[index]).mean() < 6
    assert abs(total / 1000 - 20 / fps) < 0.011


@pytest.mark.parametrize("fps, step", [(50, 1), (60, 2), (100, 2), (120, 3)])
def test_a_gif_faster_than_browsers_play_loses_frames_and_keeps_its_speed(tmp_path, fps, step):
    frames = scene(0, 24, speed=4)
    write_gif(tmp_path / "a.gif", frames, fps)
    shown_at, now = [], 0
    with Image.open(tmp_path / "a.gif") as image:
        for index in range(image.n_frames):
            image.seek(index)
            shown_at.append(now)
            assert image.info["duration"] >= 20
            now += image.info["duration"]
            got = np.asarray(image.convert("RGB")).astype(float)
            errors = [np.abs(got - frame).mean() for frame in frames]
            assert np.argmin(errors) == step * index
    assert len(shown_at) == 24 // step
    np.testing.assert_allclose(shown_at, 1000 * np.arange(0, 24, step) / fps, atol=5)
    assert abs(now / 1000 - 24 / fps) <= 0.005


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_gif_needs_a_rate(tmp_path, fps):
    with pytest.raises(InputError, match="fps must be positive"):
        write_gif(tmp_path / "a.gif", scene(0, 2), fps)


def test_contact_sheet_shows_every_frame_and_label(tmp_path):
    first, second = scene(0, 4, 24, 32), scene(1, 3, 24, 32)
    write_contact_sheet(tmp_path / "a.png", [first, second], ["night 1", "?"], scale=2)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    for video in (first, second):
        for frame in video:
            big = frame.repeat(2, 0).repeat(2, 1)
            windows = np.lib.stride_tricks.sliding_window_view(sheet, big.shape)[::1, ::2, 0]
            assert (windows == big).all(axis=(-1, -2, -3)).any()
    # Text is drawn above the first row, on the background.
    assert (sheet[:18, :60].max(-1) > 150).any()


def test_a_heading_moves_what_is_below_it_and_nothing_else(tmp_path):
    videos = [scene(0, 2), scene(1, 2)]
    sheets = {}
    for name, headings in {"without": {}, "with": {1: "BEST"}}.items():
        write_contact_sheet(tmp_path / f"{name}.png", videos, ["a", "b"], headings=headings)
        with Image.open(tmp_path / f"{name}.png") as image:
            sheets[name] = np.asarray(image)
    without, more = sheets["without"], sheets["with"]
    above = len(more) - len(without)
    border = len(without) // 2
    assert above > 20
    np.testing.assert_array_equal(more[:border], without[:border])
    np.testing.assert_array_equal(more[border + above :], without[border:])
    assert more[border : border + above].max() == 255


@pytest.mark.parametrize("videos, labels", [(0, 0), (1, 2)])
def test_contact_sheet_needs_a_label_a_video(tmp_path, videos, labels):
    with pytest.raises(InputError, match="one label a video"):
        write_contact_sheet(tmp_path / "a.png", [scene(0, 2)] * videos, ["x"] * labels)
