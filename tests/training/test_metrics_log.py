"""The files that the figures of a run end up in."""

import json

import numpy as np
import pytest
from full_disk import files_of_at_most
from PIL import Image
from tensorboardX.proto import event_pb2

from vldm_jax.training.metrics import MetricsLog


def records(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_records_are_json_lines_and_not_a_number_is_null(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.scalars(2, {"loss": 0.5})
    log.scalars(4, {"loss": float("nan")})
    log.close()
    assert records(tmp_path) == [{"step": 2, "loss": 0.5}, {"step": 4, "loss": None}]


def test_a_resumed_run_has_every_step_once(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    for step in (2, 4, 6):
        log.scalars(step, {"loss": 1.0})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # a killed process was here
    log = MetricsLog(tmp_path, start_step=4, tensorboard=False)
    log.scalars(6, {"loss": 2.0})
    log.close()
    assert [(r["step"], r["loss"]) for r in records(tmp_path)] == [(2, 1.0), (4, 1.0), (6, 2.0)]


@pytest.mark.parametrize(
    "foreign",
    [
        b'{"step": "4"}',
        b'{"loss": 1.0}',
        b'{"step": true}',
        b"[4]",
        b"\xff\xfe not UTF-8",
        b"{" * 2000,
        b"9" * 6000,
        5000 * b'{"step":' + b"1" + 5000 * b"}",
    ],
    ids=lambda line: line[:12],
)
def test_lines_of_others_are_kept_aside_and_said(tmp_path, capsys, foreign):
    path = tmp_path / "metrics.jsonl"
    ours = [b'{"step": 2, "loss": 1.0}', b'{"step": 4, "loss": 2.0}', b'{"step": 6, "loss": 3.0}']
    path.write_bytes(b"\n".join([ours[0], foreign, b"", ours[1], ours[2]]))
    MetricsLog(tmp_path, start_step=4, tensorboard=False).close()
    assert path.read_bytes().splitlines() == ours[:2]
    assert (tmp_path / "metrics.foreign").read_bytes() == foreign + b"\n"
    message = f"{path}: 1 lines are no records of a run: moved to metrics.foreign\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("size", [150, 400])
def test_a_full_disk_is_named_and_later_the_run_goes_on(tmp_path, size):
    log = MetricsLog(tmp_path, tensorboard=size == 400)
    name = "events.out.tfevents" if size == 400 else "metrics.jsonl"
    with files_of_at_most(size), pytest.raises(OSError, match=f"File too large.*{name}"):
        for step in range(100):
            log.scalars(step, {"loss": 1.0} if size == 150 else {})
    log.close()
    MetricsLog(tmp_path, start_step=3, tensorboard=False).close()
    assert [record["step"] for record in records(tmp_path)] == [0, 1, 2, 3]


def events(workdir):
    """Read the TensorBoard file as its format says: length, checksum, event, checksum."""
    (path,) = workdir.glob("events.out.tfevents.*")
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        found.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + length]))
        at += 16 + length
    return found


def test_tensorboard_gets_scalars_and_videos_side_by_side(tmp_path):
    videos = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6, 3), dtype=np.uint8)
    log = MetricsLog(tmp_path)
    log.scalars(7, {"loss": 0.25})
    log.videos(7, "samples", videos, fps=5.0)
    log.close()
    values = {v.tag: (e.step, v) for e in events(tmp_path) for v in e.summary.value}
    assert values["loss"][0] == 7
    assert values["loss"][1].simple_value == pytest.approx(0.25)
    step, value = values["samples"]
    assert (step, value.image.height, value.image.width) == (7, 8, 12)
    path = tmp_path / "sample.gif"
    path.write_bytes(value.image.encoded_image_string)
    with Image.open(path) as gif:
        assert (gif.size, gif.n_frames, gif.info["duration"]) == ((12, 8), 3, 200)
