"""A frame comes out as a player shows it: upright, square pixels, one moment, its colours."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from av.sidedata.sidedata import Type
from synthetic_videos import coloured, steady

from vldm_jax.data.read import VideoError, read_frames, scan
from vldm_jax.data.write import write_video

ONE = 1 << 16


def first_frame(path):
    video, _ = scan(path)
    frame = next(read_frames(path, video.pts))
    assert frame.shape == (video.height, video.width, 3) and frame.flags.c_contiguous
    return frame


def corners():
    """Red at the top left, blue at the bottom right, green at the top right, black below."""
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :16, :32], frames[:, 16:, 32:] = (250, 0, 0), (0, 0, 250)
    frames[:, :16, 32:] = (0, 200, 0)
    return frames


def with_matrix(path, frames, a, b, c, d):
    """Write an mp4 whose display matrix sends (x, y) to (a x + c y, b x + d y)."""
    write_video(path, frames, 5, crf=1)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    numbers = (round(n * ONE) for n in (a, b, 0, c, d, 0, 0, 0))
    content[place : place + 36] = struct.pack(">9i", *numbers, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_every_turn_and_mirror_of_the_display_matrix(tmp_path, turns, mirror):
    cosine, sine = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]  # clockwise, y downwards
    sign = -1 if mirror else 1  # the shown picture is mirrored left to right, after the turn
    with_matrix(tmp_path / "m.mp4", corners(), sign * cosine, sine, sign * -sine, cosine)
    expected = np.rot90(corners()[0], -turns)
    expected = expected[:, ::-1] if mirror else expected
    shown = first_frame(tmp_path / "m.mp4")
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 3


def test_a_picture_that_is_tilted_is_refused(tmp_path):
    with_matrix(tmp_path / "m.mp4", corners(), 0.7071, 0.7071, -0.7071, 0.7071)
    with pytest.raises(VideoError, match="tilted") as caught:
        scan(tmp_path / "m.mp4")
    assert caught.value.reason == "tilted"


def disc(height, width, aspect):
    """A white disc of three quarters of the height, round where pixels have this aspect."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = ((x - width / 2) * aspect) ** 2 + (y - height / 2) ** 2 < (0.375 * height) ** 2
    return np.repeat((255 * inside).astype(np.uint8)[None, ..., None], 3, -1).repeat(3, 0)


def is_round(frame):
    white = frame[..., 1] > 127
    return abs(white.any(0).sum() - white.any(1).sum()) <= 2


def set_aspect(aspect):
    return lambda stream: setattr(stream.codec_context, "sample_aspect_ratio", aspect)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9)])
def test_pixels_that_are_not_square_become_so(tmp_path, suffix, aspect):
    """An mp4 and mkv say so themselves; in avi and ts only the coded stream does."""
    path = tmp_path / f"a.{suffix}"
    steady(path, disc(96, 120, float(aspect)), prepare=set_aspect(aspect))
    frame = first_frame(path)
    assert frame.shape == (96, round(120 * aspect), 3)
    assert is_round(frame)


def with_pasp(path, codec, pix_fmt, spacing):
    """Write pixels of 16:15 whose container then says another width and height."""
    prepare = set_aspect(Fraction(16, 15))
    steady(path, disc(96, 120, 4 / 3), codec=codec, pix_fmt=pix_fmt, prepare=prepare)
    content = path.read_bytes()
    place = content.index(b"pasp") + 4
    path.write_bytes(content[:place] + struct.pack(">2I", *spacing) + content[place + 8 :])
    return path


def test_the_container_has_the_last_word_on_pixels(tmp_path):
    path = with_pasp(tmp_path / "a.mp4", "libx264", "yuv420p", (4, 3))
    assert first_frame(path).shape == (96, 160, 3)


@pytest.mark.parametrize("spacing", [(0, 1), (1, 0), (0, 0)])
def test_a_container_that_does_not_know_leaves_it_to_the_stream(tmp_path, spacing):
    path = with_pasp(tmp_path / "a.mp4", "libx264", "yuv420p", spacing)
    assert first_frame(path).shape == (96, 128, 3)


@pytest.mark.parametrize("spacing", [(0, 1), (1, 0), (0, 0), (1, 1)])
def test_where_nothing_knows_pixels_are_square(tmp_path, spacing):
    path = with_pasp(tmp_path / "a.mov", "qtrle", "rgb24", spacing)
    assert first_frame(path).shape == (96, 120, 3)


def test_an_aspect_is_turned_with_the_picture(tmp_path):
    def turned(stream):
        set_aspect(Fraction(4, 3))(stream)
        stream.set_display_rotation(90)

    steady(tmp_path / "a.mp4", disc(96, 120, 4 / 3), prepare=turned)
    frame = first_frame(tmp_path / "a.mp4")
    assert frame.shape == (160, 96, 3) and is_round(frame)


@pytest.mark.parametrize("aspect", [Fraction(1, 100), Fraction(9, 1)])
def test_pixels_of_no_real_format_are_refused(tmp_path, aspect):
    steady(tmp_path / "a.mkv", disc(96, 120, 1), prepare=set_aspect(aspect))
    with pytest.raises(VideoError, match="odd pixels"):
        scan(tmp_path / "a.mkv")


def bar(moment, height=64, width=128):
    """A bar that has moved on by 8 columns at every moment."""
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[:, 10 + 8 * moment : 40 + 8 * moment] = 220
    return picture


def woven(count):
    """Two moments a frame, line by line."""
    frames = np.stack([bar(2 * i) for i in range(count)])
    for i, frame in enumerate(frames):
        frame[1::2] = bar(2 * i + 1)[1::2]
    return frames


INTERLACED = {
    "h264": ("i.mkv", "libx264", {"crf": "5", "x264-params": "interlaced=1"}, "yuv420p"),
    "mpeg2": ("i.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "4M"}, "yuv420p"),
    "prores": ("i.mov", "prores_ks", {"flags": "+ildct"}, "yuv422p10le"),
    "ffv1": ("i.mkv", "ffv1", {}, "yuv420p"),
    "mjpeg": ("i.mov", "mjpeg", {}, "yuvj420p"),
}


@pytest.mark.parametrize("codec", INTERLACED)
def test_an_interlaced_frame_shows_one_moment(tmp_path, codec):
    name, encoder, options, pix_fmt = INTERLACED[codec]
    prepare = lambda stream: setattr(stream.codec_context, "field_order", 2)  # noqa: E731
    steady(
        tmp_path / name, woven(5), codec=encoder, options=options, pix_fmt=pix_fmt, prepare=prepare
    )
    video, _ = scan(tmp_path / name)
    for start in (0, 2):  # the same frame, wherever reading begins
        frame = [*read_frames(tmp_path / name, video.pts[start:3])][-1].astype(int)
        assert min(np.abs(frame - bar(moment)).mean() for moment in (4, 5)) < 3
        assert np.abs(frame - woven(3)[2]).mean() > 4


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "ffv1"])
def test_a_progressive_frame_keeps_all_its_lines(tmp_path, codec):
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[:, ::2] = 255
    options = {"crf": "1"} if codec == "libx264" else {"b": "40M"} if codec == "mpeg2video" else {}
    steady(tmp_path / "p.mkv", frames, codec=codec, options=options, pix_fmt="yuv420p")
    rows = first_frame(tmp_path / "p.mkv").mean((1, 2))
    assert (rows[::2] > 200).all() and (rows[1::2] < 55).all()


def tagged(path, frame, matrix=2, full=False, curve=2, primaries=2):
    """Write a frame three times with these numbers of H.273 on it."""

    def tag(stream):
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, 2 if full else 1
        context.color_trc, context.color_primaries = curve, primaries

    steady(path, [frame] * 3, codec="ffv1", pix_fmt=frame.format.name, prepare=tag)


def middle(path):
    frame = first_frame(path)
    return frame[frame.shape[0] // 2, frame.shape[1] // 2].astype(int)


COLOURS = [(200, 100, 50), (60, 220, 90), (255, 255, 255), (0, 0, 0), (40, 60, 230)]


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_matrix_range_and_depth_are_undone(tmp_path, matrix, full, bits):
    for number, colour in enumerate(COLOURS):
        path = tmp_path / f"{number}.mkv"
        frame = coloured(np.array(colour) / 255, matrix=matrix, full=full, bits=bits)
        tagged(path, frame, matrix=matrix, full=full)
        assert np.abs(middle(path) - colour).max() <= 2


def test_without_tags_it_is_bt601_of_limited_range(tmp_path):
    tagged(tmp_path / "u.mkv", coloured(np.array(COLOURS[0]) / 255, matrix=5))
    assert np.abs(middle(tmp_path / "u.mkv") - COLOURS[0]).max() <= 2


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_a_matrix_that_ffmpeg_cannot_undo_is_refused(tmp_path, matrix):
    tagged(tmp_path / "m.mkv", coloured((0.5, 0.5, 0.5)), matrix=matrix)
    with pytest.raises(VideoError, match=f"unknown colours .*colour matrix {matrix}") as caught:
        scan(tmp_path / "m.mkv")
    assert caught.value.reason == "unknown colours"


@pytest.mark.parametrize("curve", [8, 9, 10])
def test_a_curve_of_no_screen_is_refused(tmp_path, curve):
    tagged(tmp_path / "c.mkv", coloured((0.5, 0.5, 0.5)), curve=curve)
    with pytest.raises(VideoError, match=f"unknown colours .*transfer curve {curve}"):
        scan(tmp_path / "c.mkv")


@pytest.mark.parametrize("curve, refused", [(2, True), (16, False), (18, False)])
def test_dolby_vision_is_read_only_where_it_has_a_common_picture(
    tmp_path, monkeypatch, curve, refused
):
    tagged(tmp_path / "d.mkv", coloured((0.5, 0.5, 0.5), matrix=9, bits=10), 9, curve=curve)
    monkeypatch.setattr(
        "vldm_jax.data.colour.side_data", lambda frame, kind: kind == Type.DOVI_METADATA or None
    )
    if refused:
        with pytest.raises(VideoError, match="unknown colours .*Dolby Vision"):
            scan(tmp_path / "d.mkv")
    else:
        scan(tmp_path / "d.mkv")


def test_side_data_that_pyav_cannot_name_does_not_hide_a_turn(tmp_path, monkeypatch):
    """Frames of spatial video carry some; PyAV then gives none at all, but still the angle."""

    def unknown(frame, kind):
        raise LookupError("30 is not a valid Type")

    with_matrix(tmp_path / "m.mp4", corners(), 0, 1, -1, 0)
    monkeypatch.setattr("vldm_jax.data.orientation.side_data", unknown)
    shown = first_frame(tmp_path / "m.mp4")
    assert np.abs(shown.astype(int) - np.rot90(corners()[0], -1)).mean() < 3


# Signals of ITU-R BT.2408 and BT.2100: nits, PQ (Table 4 there), and what a screen with a white of
# 203 nits and gamma 2.4 makes of so much light, 255 (nits / 203)^(1 / 2.4).
@pytest.mark.parametrize(
    "nits, signal, expected", [(0, 0, 0), (26, 0.3771, 108), (100, 0.5081, 190), (203, 0.5807, 255)]
)
def test_pq_keeps_its_light_up_to_the_white_of_the_screen(tmp_path, nits, signal, expected):
    frame = coloured([signal] * 3, matrix=9, bits=10)
    tagged(tmp_path / "pq.mkv", frame, matrix=9, curve=16, primaries=9)
    assert np.abs(middle(tmp_path / "pq.mkv") - expected).max() <= 2


# HLG on a screen of 1000 nits: 75% is 203 nits and 50% is 1000 (1/12)^1.2 = 50.7 (BT.2408 Table 1).
@pytest.mark.parametrize("signal, expected", [(0, 0), (0.5, 143), (0.75, 255), (1, 255)])
def test_hlg_keeps_its_light_up_to_the_white_of_the_screen(tmp_path, signal, expected):
    frame = coloured([signal] * 3, matrix=9, bits=10)
    tagged(tmp_path / "hlg.mkv", frame, matrix=9, curve=18, primaries=9)
    assert np.abs(middle(tmp_path / "hlg.mkv") - expected).max() <= 2


def test_brighter_than_white_is_white(tmp_path):
    frame = coloured([0.9] * 3, matrix=9, bits=10)  # about 4000 nits
    tagged(tmp_path / "pq.mkv", frame, matrix=9, curve=16, primaries=9)
    assert middle(tmp_path / "pq.mkv").tolist() == [255, 255, 255]


def pq(nits):
    """SMPTE ST 2084, equation 5.2: the signal of so much light."""
    power = (np.asarray(nits) / 10000) ** (2610 / 16384)
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    return ((c1 + c2 * power) / (1 + c3 * power)) ** (2523 / 32)


# ITU-R BT.2087: linear BT.709 to BT.2020.
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_of_hdr_are_those_of_bt709(tmp_path, colour):
    light = 203 * TO_2020 @ (np.array(colour) / 255) ** 2.4
    tagged(tmp_path / "p.mkv", coloured(pq(light), matrix=9, bits=10), 9, curve=16, primaries=9)
    assert np.abs(middle(tmp_path / "p.mkv") - colour).max() <= 3


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("curve", [1, 14])
def test_a_wide_gamut_without_hdr_is_brought_to_bt709(tmp_path, colour, curve):
    signal = (TO_2020 @ (np.array(colour) / 255) ** 2.4) ** (1 / 2.4)
    tagged(tmp_path / "w.mkv", coloured(signal, matrix=9, bits=10), 9, curve=curve, primaries=9)
    assert np.abs(middle(tmp_path / "w.mkv") - colour).max() <= 3


def test_hdr_without_other_tags_is_bt2020(tmp_path):
    light = 203 * TO_2020 @ (np.array(COLOURS[0]) / 255) ** 2.4
    tagged(tmp_path / "p.mkv", coloured(pq(light), matrix=9, bits=10), curve=16)
    assert np.abs(middle(tmp_path / "p.mkv") - COLOURS[0]).max() <= 3


def test_a_large_hdr_frame_is_the_same_in_every_row(tmp_path):
    frame = coloured([0.5081] * 3, size=16, height=150, matrix=9, bits=10)
    tagged(tmp_path / "t.mkv", frame, matrix=9, curve=16, primaries=9)
    assert np.unique(first_frame(tmp_path / "t.mkv")).size == 1
