import av
import numpy as np
from PIL import Image

from vldm_jax.data import inspect
from vldm_jax.data.inspect import mosaic, write_inspection
from vldm_jax.data.pipeline import make_loader
from vldm_jax.data.relabel import RelabelledSource
from vldm_jax.data.source import folder_source

SMALL = dict(height=32, width=64, fps=7.5, num_frames=4)


def test_files_show_the_first_examples_of_training(clips, tmp_path):
    (clips / "text.mp4").write_text("not a video")
    source = folder_source(clips, **SMALL)
    summary = write_inspection(source, tmp_path / "out", count=5, seed=3)
    with make_loader(source, batch_size=5, seed=3, shuffle=True) as loader:
        batch = next(loader)
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png"))
    # Rows: 18 of text, then frames three times as large, then a gap of 2; columns have a gap of 2.
    shown = sheet[18 + 18 :][: 32 * 3 : 3, : 64 * 3 : 3]
    np.testing.assert_array_equal(shown, batch["video"][0, 0])
    second = sheet[18 + (18 + 96 + 2) + 18 :][: 32 * 3 : 3, 64 * 3 + 2 :][:, : 64 * 3 : 3]
    np.testing.assert_array_equal(second, batch["video"][1, 1])
    with av.open(str(tmp_path / "out" / "clips.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == 4 and float(stream.average_rate) == 7.5
    text = (tmp_path / "out" / "summary.txt").read_text()
    assert text == summary + "\n"
    for part in ("skipped 1: not a video", "36 examples; 5 shown", "label night: known for"):
        assert part in text


def test_the_sheet_shows_the_labels_that_the_model_gets(clips, tmp_path, monkeypatch):
    """Not the folder's: they may stand in another order, be left out or be unknown."""
    shown = []
    monkeypatch.setattr(inspect, "write_contact_sheet", lambda *args, **more: shown.extend(args[2]))
    source = RelabelledSource(folder_source(clips, **SMALL), ("fog", "cars"))
    write_inspection(source, tmp_path / "out", count=36, shuffle=False)
    assert shown[0] == "a.mp4 at 0.00 s  fog ?  cars 4"
    assert shown[25] == "sub/c.mp4 at 0.13 s  fog ?  cars ?"
    assert not any("night" in line for line in shown)


def test_images_have_a_sheet_and_no_video(clips, tmp_path):
    source = folder_source(clips, **{**SMALL, "num_frames": 1})
    write_inspection(source, tmp_path, count=1000)
    names = {path.name for path in tmp_path.iterdir()} - {"clips"}
    assert names == {"sheet.png", "summary.txt"}


def test_images_leave_no_clips_of_an_earlier_inspection(clips, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clips.mp4").touch()
    write_inspection(folder_source(clips, **{**SMALL, "num_frames": 1}), tmp_path / "out", count=2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"sheet.png", "summary.txt"}


def test_mosaic_keeps_every_pixel():
    videos = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 16, 3), dtype=np.uint8)
    grid = mosaic(videos)
    rows, columns = grid.shape[1] // 8, grid.shape[2] // 16
    assert rows * columns >= 5
    for index in range(5):
        row, column = divmod(index, columns)
        part = grid[:, 8 * row : 8 * row + 8, 16 * column : 16 * column + 16]
        np.testing.assert_array_equal(part, videos[index])
