"""What a file is called, what else is in it and how large it claims to be do not matter."""

import errno
import io
import os
import pickle
import resource
import struct

import av
import numpy as np
import pytest
from synthetic_videos import encode, join, number_of, numbered, steady

from vldm_jax.data import faults
from vldm_jax.data.read import VideoError, read_frames, scan
from vldm_jax.data.write import write_video


def check_numbers(path, count):
    video, _ = scan(path)
    assert len(video.pts) == count
    frames = list(read_frames(path, video.pts[[1, count - 1]]))
    assert [number_of(frame) for frame in frames] == [1, count - 1]
    return video


NAMES = (
    "12:30:05.mp4", "concat:a.mp4", "file:b.mp4", "http:c.mp4", "-i.mp4", "%03d.mp4", "a b|c.mp4",
    "100%.mp4", "line\nbreak.mp4", "pipe:0.mp4", "subfile,,start,0:d.mp4", "'quote\".mp4", "é.mp4",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_an_instruction(tmp_path, name):
    write_video(tmp_path / "x.mp4", numbered(5), 25)
    (tmp_path / "x.mp4").rename(tmp_path / name)
    check_numbers(tmp_path / name, 5)


def test_a_name_that_looks_like_a_sequence_of_images(tmp_path):
    steady(tmp_path / "x.gif", numbered(5), codec="gif", pix_fmt="rgb8")
    (tmp_path / "x.gif").rename(tmp_path / "a%d.gif")
    check_numbers(tmp_path / "a%d.gif", 5)


def test_a_relative_name_with_a_colon(tmp_path, monkeypatch):
    write_video(tmp_path / "x.mp4", numbered(5), 25)
    (tmp_path / "x.mp4").rename(tmp_path / "concat:x.mp4")
    monkeypatch.chdir(tmp_path)
    check_numbers("concat:x.mp4", 5)


def test_a_name_that_is_not_utf8(tmp_path):
    write_video(tmp_path / "x.mp4", numbered(5), 25)
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n.mp4")
    os.rename(tmp_path / "x.mp4", path)
    check_numbers(os.fsdecode(path), 5)
    os.truncate(path, 100)
    with pytest.raises(VideoError, match=r"caf\\xe9\\n\.mp4") as caught:
        scan(os.fsdecode(path))
    str(caught.value).encode()  # prints anywhere


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_title_that_is_not_utf8(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Titel:Cafe"
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        stream.metadata["title"] = "Spur:Cafe"
        for array in numbered(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.count(b":Cafe")
    path.write_bytes(content.replace(b":Cafe", b":Caf\xe9"))
    check_numbers(path, 5)


def add_picture(container, frames, rate, codec="libx264", disposition=None, pix_fmt="yuv420p"):
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pix_fmt
    if disposition is not None:
        stream.disposition = disposition
    return stream, [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]


def mux_all(path, *parts):
    """Write several streams, one after the other."""
    with av.open(str(path), "w") as container:
        made = [part(container) for part in parts]
        for stream, frames in made:
            for frame in [*frames, None]:
                container.mux(stream.encode(frame))


Disposition = av.stream.Disposition


def cover(container):
    pictures = np.full((1, 96, 96, 3), 200, np.uint8)
    return add_picture(container, pictures, 25, "mjpeg", Disposition.attached_pic, "yuvj420p")


def put_tags_first(path):
    """Move an mp4's tags, with the cover in them, before its tracks, as some taggers do."""
    content = path.read_bytes()
    start = content.index(b"moov") - 4
    end, at, boxes = start + int.from_bytes(content[start : start + 4], "big"), start + 8, []
    while at < end:
        length = int.from_bytes(content[at : at + 4], "big")
        boxes.append(content[at : at + length])
        at += length
    boxes.sort(key=lambda box: box[4:8] != b"udta")
    path.write_bytes(content[: start + 8] + b"".join(boxes) + content[end:])


@pytest.mark.parametrize("place", [0, 1])
def test_a_cover_is_not_the_picture_wherever_it_stands(tmp_path, place):
    mux_all(tmp_path / "c.mp4", lambda c: add_picture(c, numbered(12), 25), cover)
    if place == 0:
        put_tags_first(tmp_path / "c.mp4")
    with av.open(str(tmp_path / "c.mp4")) as container:
        covers = [bool(s.disposition & Disposition.attached_pic) for s in container.streams]
    assert covers == [place == 0, place == 1]
    assert check_numbers(tmp_path / "c.mp4", 12).notes == ()


def test_a_cover_alone_is_no_video(tmp_path):
    mux_all(tmp_path / "c.mp4", cover)
    with pytest.raises(VideoError, match="not a video .*only picture is a cover"):
        scan(tmp_path / "c.mp4")


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_pictures_the_default_one_is_taken_and_said(tmp_path, default):
    black = np.zeros((12, 64, 128, 3), np.uint8)
    frames = [black, numbered(12)][:: 1 if default else -1]
    mux_all(
        tmp_path / "s.mkv",
        *(
            lambda c, i=i: add_picture(c, frames[i], 25, disposition=int(i == default))
            for i in range(2)
        ),
    )
    video = check_numbers(tmp_path / "s.mkv", 12)
    assert any("several video streams" in note for note in video.notes)


def test_of_several_pictures_without_a_default_the_largest_is_taken(tmp_path):
    small = np.zeros((12, 16, 32, 3), np.uint8)
    mux_all(
        tmp_path / "s.ts",
        lambda c: add_picture(c, small, 25),
        lambda c: add_picture(c, numbered(12), 25),
    )
    assert check_numbers(tmp_path / "s.ts", 12).height == 32


def test_a_picture_behind_sound_keeps_its_last_frames(tmp_path):
    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        picture, frames = add_picture(container, numbered(12), 25)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux([*sound.encode(frame), *sound.encode(None)])
        for frame in [*frames, None]:
            container.mux(picture.encode(frame))
    check_numbers(tmp_path / "s.mp4", 12)


def test_other_streams_are_passed_over(tmp_path):
    """GXF has time codes as a stream of data, which nothing decodes."""
    frames = np.zeros((5, 576, 720, 3), np.uint8)
    steady(tmp_path / "d.gxf", frames, codec="mpeg2video", format="gxf")
    with av.open(str(tmp_path / "d.gxf")) as container:
        assert {stream.type for stream in container.streams} > {"video"}
    assert len(scan(tmp_path / "d.gxf")[0].pts) == 5


def test_a_stream_that_shows_up_late_ends_nothing(tmp_path):
    steady(tmp_path / "a.ts", numbered(12))
    steady(tmp_path / "b.ts", numbered(12), muxing={"mpegts_start_pid": "0x300"})
    join(tmp_path / "ab.ts", *[tmp_path / "a.ts"] + [tmp_path / "b.ts"] * 3)
    check_numbers(tmp_path / "ab.ts", 12)


def test_an_unknown_codec_is_a_reason_of_its_own(tmp_path):
    steady(tmp_path / "u.mp4", numbered(5), codec="mpeg4")
    content = (tmp_path / "u.mp4").read_bytes()
    (tmp_path / "u.mp4").write_bytes(content.replace(b"mp4v", b"zzzz").replace(b"esds", b"free"))
    with pytest.raises(VideoError, match="unknown codec .*no decoder") as caught:
        scan(tmp_path / "u.mp4")
    assert caught.value.reason == "unknown codec"


def test_a_huge_picture_is_refused_by_its_head(tmp_path):
    """16000x16000 needs 384 MB a frame, of which a decoder keeps several."""
    (tmp_path / "h.y4m").write_bytes(b"YUV4MPEG2 W16000 H16000 F25:1 Ip A1:1 C420\nFRAME\n")
    steady(tmp_path / "h.gif", numbered(3), codec="gif", pix_fmt="rgb8")
    content = (tmp_path / "h.gif").read_bytes()
    (tmp_path / "h.gif").write_bytes(content[:6] + struct.pack("<2H", 16000, 16000) + content[10:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, size in (("h.y4m", "16000x16000"), ("h.gif", "too many")):
        with pytest.raises(VideoError, match=f"too large .*{size} pixels") as caught:
            scan(tmp_path / name)
        assert caught.value.reason == "too large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_an_animated_webp_is_read_or_a_reason_of_its_own(tmp_path):
    """FFmpeg reads it from version 9 on."""
    steady(tmp_path / "a.webp", numbered(5), codec="libwebp_anim", pix_fmt="bgra")
    if int(av.ffmpeg_version_info.split(".")[0]) >= 9:
        check_numbers(tmp_path / "a.webp", 5)
        return
    with pytest.raises(VideoError, match="unknown codec .*animated WebP.*mp4 or GIF"):
        scan(tmp_path / "a.webp")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_what_cannot_be_opened_now_is_unreadable(tmp_path, monkeypatch, number):
    write_video(tmp_path / "x.mp4", numbered(5), 25)

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VideoError, match="unreadable .*try again") as caught:
        scan(tmp_path / "x.mp4")
    assert caught.value.passing and "re-encode" not in str(caught.value)


def test_a_disk_that_fails_while_ffmpeg_reads_is_told_from_damage(tmp_path, monkeypatch):
    (tmp_path / "x.mp4").write_bytes(b"to FFmpeg it looks damaged")

    def fail(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(VideoError, match="unreadable") as caught:
        scan(tmp_path / "x.mp4")
    monkeypatch.undo()
    assert caught.value.passing
    with pytest.raises(VideoError, match="not a video") as caught:
        scan(tmp_path / "x.mp4")
    assert not caught.value.passing


def test_errors_of_the_system_within_ffmpeg_pass(tmp_path, monkeypatch):
    write_video(tmp_path / "x.mp4", numbered(5), 25)
    for error in (av.error.PermissionError, av.error.OSError, av.error.MemoryError):
        number = {av.error.PermissionError: 13, av.error.OSError: 5}.get(error, errno.ENOMEM)

        def fail(*args, error=error, number=number, **kwargs):
            raise error(number, os.strerror(number))

        monkeypatch.setattr(av, "open", fail)
        with pytest.raises(VideoError) as caught:
            scan(tmp_path / "x.mp4")
        assert caught.value.passing and str(caught.value).endswith("try again")


def test_an_error_travels_from_a_worker_whole(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(VideoError) as caught:
        scan(tmp_path / "x.mp4")
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value) and twin.reason == "not a video" and not twin.passing


def test_an_error_in_a_stored_clip_is_one_line():
    with pytest.raises(VideoError, match="a stored clip: not a video") as caught:
        list(read_frames(io.BytesIO(b"nothing"), np.zeros(1, np.int64)))
    assert "\n" not in str(caught.value)


def test_text_that_prints_anywhere():
    assert faults.shown("/a/b c é.mp4") == "/a/b c é.mp4"
    assert faults.shown("a\nb\tc\x1b[2J") == r"a\nb\tc\x1b[2J"
    assert faults.shown(os.fsdecode(b"caf\xe9")) == r"caf\xe9"


def test_a_playlist_opens_no_other_file(tmp_path):
    encode(tmp_path / "a.ts", numbered(5), np.arange(5) / 25)
    (tmp_path / "p.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\n{tmp_path}/a.ts\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "q.mp4").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/a.ts'\n")
    for name in ("p.mp4", "q.mp4"):
        with pytest.raises(VideoError, match="not a video"):
            scan(tmp_path / name)
