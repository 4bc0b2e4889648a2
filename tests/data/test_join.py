"""Videos joined without being encoded again: the same frames, one clock."""

import av
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.join import join_videos
from vldm_jax.data.write import write_video


def decoded(path):
    with av.open(str(path)) as container:
        return [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]


@pytest.fixture
def parts(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (17, 32, 64, 3), dtype=np.uint8)
    files = [tmp_path / f"{i}.mp4" for i in range(3)]
    for file, chunk in zip(files, np.split(frames, [7, 12]), strict=True):
        write_video(file, chunk, 30.0)
    return files


def test_every_frame_is_there_once_at_its_time(parts, tmp_path):
    join_videos(parts, tmp_path / "all.mp4")
    whole, alone = decoded(tmp_path / "all.mp4"), [f for p in parts for f in decoded(p)]
    np.testing.assert_allclose([time for time, _ in whole], np.arange(17) / 30.0, atol=1e-3)
    for (_, one), (_, other) in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    with av.open(str(tmp_path / "all.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(30.0)
        assert container.streams.video[0].frames == 17


def test_the_same_parts_give_the_same_bytes(parts, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        join_videos(parts, tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_part_of_another_size_or_none_is_refused_and_nothing_is_left(parts, tmp_path):
    write_video(tmp_path / "other.mp4", np.zeros((3, 16, 16, 3), np.uint8), 30.0)
    with pytest.raises(InputError, match="other.mp4 is"):
        join_videos([*parts, tmp_path / "other.mp4"], tmp_path / "all.mp4")
    with pytest.raises(InputError, match="no video"):
        join_videos([], tmp_path / "all.mp4")
    assert not (tmp_path / "all.mp4").exists()
