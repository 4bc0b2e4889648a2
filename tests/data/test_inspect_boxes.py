"""An inspection shows the boxes that the model gets, on the frames that it gets."""

import av
import numpy as np
import pytest
from PIL import Image

from vldm_jax.data.drawing import YELLOW
from vldm_jax.data.inspect import write_inspection

HEIGHT, WIDTH, SCALE = 32, 64, 3  # three times as large on the sheet


class Boxed:
    """Grey clips, or images of one frame, with a box that is there and one that is not."""

    report, label_names, video = "grey clips", (), np.arange(2)

    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return 2

    def __getitem__(self, key):
        grey = np.full((self.frames, HEIGHT, WIDTH, 3), 90, np.uint8)
        boxes = np.zeros((self.frames, 3, 4), np.float32)
        boxes[:, 1] = (0.25, 0.25, 0.75, 0.5)
        boxes[:, 2] = (0.0, 0.0, 1.0, 1.0)
        is_box = np.zeros((self.frames, 3), bool)
        is_box[:, 1] = True
        content = {"video": grey}
        if self.frames == 1:
            content, boxes, is_box = {"image": grey[0]}, boxes[0], is_box[0]
        more = {"labels": np.zeros(0, np.float32), "fps": np.float32(8), "key": np.int32(key)}
        return content | more | {"boxes": boxes, "is_box": is_box}

    def describe(self, key):
        return f"clip {key}"


@pytest.mark.parametrize("frames", [1, 2])
def test_boxes_are_drawn_and_counted(tmp_path, frames):
    summary = write_inspection(Boxed(frames), tmp_path, count=2, shuffle=False)
    assert "boxes a frame: 1 to 1, mean 1; of more than 3 the largest" in summary
    assert "brightness 90.0 of 255, contrast 0.0" in summary  # of the frames alone
    top = 18 if frames == 1 else 36  # text
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))[top:]
    frame = sheet[: HEIGHT * SCALE, : WIDTH * SCALE]
    rows, columns = np.nonzero((frame == np.array(YELLOW)[None, None]).all(-1))
    corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert corners == (48, 24, 144, 48)
    assert (tmp_path / "clips.mp4").exists() == (frames > 1)
    if frames > 1:
        with av.open(str(tmp_path / "clips.mp4")) as container:
            film = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.ptp(film[..., 2].astype(int)) > 40
