import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from synthetic_videos import damage, encode, number_of, numbered, scene, steady

from vldm_jax.data.read import VideoError, read_frames, scan
from vldm_jax.data.write import write_gif, write_video


@pytest.fixture
def counted(tmp_path):
    """100 numbered frames at 30 fps: several B-frames, one key frame."""
    write_video(tmp_path / "n.mp4", numbered(100), 30)
    return tmp_path / "n.mp4"


def test_scan_sees_every_frame_and_its_time(counted):
    video, thumbnails = scan(counted)
    np.testing.assert_allclose(video.times, np.arange(100) / 30, atol=1e-4)
    assert (video.height, video.width, len(thumbnails)) == (32, 64, 100)
    assert abs(video.fps - 30) < 1e-3


@pytest.mark.parametrize("wanted", [[0], [99], [57], [3, 4, 5], [0, 50, 99], [31, 31, 40]])
def test_exactly_the_frames_asked_for(counted, wanted):
    video, _ = scan(counted)
    frames = list(read_frames(counted, video.pts[wanted]))
    assert [number_of(frame) for frame in frames] == wanted


@pytest.mark.parametrize("suffix, codec", [("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")])
def test_other_containers_seek_to_the_same_frames(tmp_path, suffix, codec):
    path = tmp_path / f"n.{suffix}"
    encode(path, numbered(60), np.arange(60) / 25, codec=codec, time_base=Fraction(1, 25))
    video, _ = scan(path)
    wanted = [7, 30, 58]
    assert [number_of(frame) for frame in read_frames(path, video.pts[wanted])] == wanted


def test_a_variable_frame_rate_keeps_its_times(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(10, 200, 40)) / 1000
    encode(tmp_path / "v.mkv", numbered(40), times)
    video, _ = scan(tmp_path / "v.mkv")
    np.testing.assert_allclose(video.times, times - times[0], atol=1e-9)
    assert [number_of(frame) for frame in read_frames(video.path, video.pts[::7])] == [
        *range(0, 40, 7)
    ]


@pytest.mark.parametrize("shape", [(31, 65), (33, 64), (32, 63)])
def test_odd_sizes(tmp_path, shape):
    frames = scene(0, 5, *shape)
    encode(tmp_path / "o.mkv", frames, np.arange(5) / 10, codec="ffv1", pix_fmt="bgr0")
    video, _ = scan(tmp_path / "o.mkv")
    assert (video.height, video.width) == shape
    np.testing.assert_array_equal(list(read_frames(video.path, video.pts)), frames)


def test_a_frame_that_the_container_turns_is_upright(tmp_path):
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, :16, :32], frames[:, 16:, 32:] = (250, 0, 0), (0, 0, 250)
    write_video(tmp_path / "r.mp4", frames, 5, crf=1)
    content = bytearray((tmp_path / "r.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44
    # (x, y) -> (-y, x): what is on the right comes to the bottom, a quarter turn clockwise.
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    content[matrix : matrix + 36] = clockwise
    (tmp_path / "r.mp4").write_bytes(content)
    video, _ = scan(tmp_path / "r.mp4")
    assert (video.height, video.width) == (64, 32)
    first = next(read_frames(video.path, video.pts))
    assert np.abs(first.astype(int) - np.rot90(frames[0], -1)).mean() < 3


def test_colours_of_a_bt709_file_come_back(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (200, 100, 50)]
    with av.open(str(tmp_path / "c.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.colorspace = 1  # AVCOL_SPC_BT709
        for colour in colours:
            array = np.full((32, 32, 3), colour, np.uint8)
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            hd = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            container.mux(stream.encode(hd))
        container.mux(stream.encode(None))
    video, _ = scan(tmp_path / "c.mp4")
    middle = np.array([frame[16, 16] for frame in read_frames(video.path, video.pts)])
    assert np.abs(middle.astype(int) - colours).max() <= 3


def expect(path, reason, remedy="get the file again or remove it"):
    with pytest.raises(VideoError) as caught:
        scan(path)
    assert caught.value.reason == reason
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith(f": {remedy}")


def write_as(suffix, path, frames):
    if suffix == "gif":
        write_gif(path, frames, 25)
    elif suffix == "mp4":
        write_video(path, frames, 25)
    else:
        codec = {"mkv": "libx264", "webm": "libvpx", "flv": "libx264"}[suffix]
        encode(path, frames, np.arange(len(frames)) / 25, codec=codec)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "gif", "flv"])
def test_a_truncated_file(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    write_as(suffix, path, numbered(100))
    content = path.read_bytes()
    assert len(scan(path)[0].pts) == 100
    for keep in (0.4, 0.6, 0.8, 0.97):
        path.write_bytes(content[: int(keep * len(content))])
        expect(path, "truncated")


def test_a_matroska_that_ends_between_two_frames(tmp_path):
    """Nothing is cut in half here: only the declared length tells."""
    encode(tmp_path / "a.mkv", numbered(100), np.arange(100) / 25)
    with av.open(str(tmp_path / "a.mkv")) as container:
        places = sorted(packet.pos for packet in container.demux(video=0) if packet.size)
    content = (tmp_path / "a.mkv").read_bytes()
    start = content.rindex(b"\xa3", 0, places[60])  # SimpleBlock
    (tmp_path / "t.mkv").write_bytes(content[:start])
    expect(tmp_path / "t.mkv", "truncated")


def test_sound_that_outlasts_the_picture_is_no_truncation(tmp_path):
    """The file's length is the sound's; its picture is whole, also if the sound's end is lost."""
    path = tmp_path / "s.mkv"
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("libx264", rate=25), container.add_stream("pcm_s16le")
        picture.height, picture.width, picture.pix_fmt = 32, 64, "yuv420p"
        sound.sample_rate, sound.layout = 8000, "mono"
        for array in numbered(20):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(picture.encode(None))
        for second in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, 8000 * second
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    assert len(scan(path)[0].pts) == 20
    content = path.read_bytes()
    path.write_bytes(content[: int(0.7 * len(content))])
    assert len(scan(path)[0].pts) == 20


def test_a_gif_padded_with_zeros_is_whole(tmp_path):
    write_gif(tmp_path / "a.gif", numbered(5), 25)
    (tmp_path / "a.gif").write_bytes((tmp_path / "a.gif").read_bytes() + bytes(3))
    assert len(scan(tmp_path / "a.gif")[0].pts) == 5


def test_a_file_that_ends_between_two_frames(counted, tmp_path):
    with av.open(str(counted)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
    (tmp_path / "t.mp4").write_bytes(counted.read_bytes()[: last.pos])
    expect(tmp_path / "t.mp4", "truncated")


def test_a_file_cut_before_its_index_was_written(tmp_path):
    with av.open(str(tmp_path / "i.mp4"), "w") as container:  # no faststart: the index comes last
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        for array in numbered(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode(None))
    content = (tmp_path / "i.mp4").read_bytes()
    (tmp_path / "i.mp4").write_bytes(content[: content.index(b"moov") - 4])
    expect(tmp_path / "i.mp4", "not a video")


def test_damage_in_the_middle(tmp_path):
    write_video(tmp_path / "a.mp4", scene(0, 60), 30)
    damage(tmp_path / "a.mp4", tmp_path / "d.mp4")
    expect(tmp_path / "d.mp4", "corrupt", "re-encode the file or remove it")


@pytest.mark.parametrize("content", [b"", b"hello, not a video\n", bytes(5000)])
def test_a_file_that_is_no_video(tmp_path, content):
    (tmp_path / "x.mp4").write_bytes(content)
    expect(tmp_path / "x.mp4", "not a video")


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expect(tmp_path / "s.mp4", "not a video", "remove it")


def test_a_file_replaced_after_its_scan_is_noticed(counted):
    video, _ = scan(counted)
    write_video(counted, numbered(50), 30)
    with pytest.raises(VideoError, match="changed .no frame at tick .* start again"):
        list(read_frames(counted, video.pts[[10, 90]]))


def test_dropped_frames_of_an_avi_are_no_truncation(tmp_path):
    """The header counts them, but nothing is stored: the last frame stays on the screen."""
    kept = [*range(10), *range(21, 40)]
    path, times, tick = tmp_path / "d.avi", np.array(kept) / 25, Fraction(1, 25)
    encode(path, numbered(40)[kept], times, codec="mpeg4", time_base=tick, rate=25)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 40
    video, _ = scan(path)
    np.testing.assert_allclose(video.times, np.array(kept) / 25)
    content = path.read_bytes()
    frames = content.index(b"movi")
    for keep in (0.3, 0.7, 0.99):
        path.write_bytes(content[: frames + int(keep * (len(content) - frames))])
        expect(path, "truncated")


def test_dropped_frames_at_the_end_of_an_avi(tmp_path):
    """The count alone would call the file cut."""
    path = tmp_path / "d.avi"
    steady(path, numbered(20), codec="mpeg4")
    content = path.read_bytes()
    for place in (content.index(b"avih") + 24, content.index(b"strh") + 40):
        assert content[place : place + 4] == (20).to_bytes(4, "little")
        content = content[:place] + (30).to_bytes(4, "little") + content[place + 4 :]
    path.write_bytes(content)
    assert len(scan(path)[0].pts) == 20


@pytest.mark.parametrize("start, length", [(0, 0.5), (12, 1.0), (12, 0.3)])
def test_what_an_edit_leaves_out_is_no_truncation(tmp_path, start, length):
    """A trimmed mp4 keeps all frames and shows some."""
    path = tmp_path / "e.mp4"
    write_video(path, numbered(60), 30, key_every=10)
    content = bytearray(path.read_bytes())
    place = content.index(b"elst") + 12
    struct.pack_into(">Ii", content, place, round(1000 * length), 1024 + 512 * start)
    path.write_bytes(content)
    video, _ = scan(path)
    numbers = [number_of(frame) for frame in read_frames(path, video.pts)]
    assert numbers == [*range(start, min(60, start + round(30 * length)))]
    path.write_bytes(content[: int(0.6 * len(content))])
    expect(path, "truncated")


def test_missing_data_in_the_middle_of_a_stream(tmp_path):
    path = tmp_path / "m.ts"
    encode(path, scene(0, 40), np.arange(40) / 25)
    content = path.read_bytes()
    packets = [content[at : at + 188] for at in range(0, len(content), 188)]
    pictures = [n for n, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    del packets[pictures[len(pictures) // 2]]
    path.write_bytes(b"".join(packets))
    expect(path, "corrupt", "re-encode the file or remove it")


def test_an_mp4_in_fragments(tmp_path):
    path = tmp_path / "f.mp4"
    steady(path, numbered(40), muxing={"movflags": "frag_keyframe+empty_moov"}, options={"g": "8"})
    assert len(scan(path)[0].pts) == 40
    with av.open(str(path)) as container:
        last = [packet.pos for packet in container.demux(video=0) if packet.size][-1]
    path.write_bytes(path.read_bytes()[: last + 3])
    expect(path, "truncated")
