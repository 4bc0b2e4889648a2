"""The demo as a user runs it, with little training."""

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_demo_writes_what_it_promises(tmp_path):
    done = subprocess.run(
        [sys.executable, "launch/demo.py", f"--out={tmp_path}", "--minutes=1.5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "metrics.json").read_text())
    before, after = figures["before: independent frames"], figures["after: shipped"]
    real = figures["real clips: the floor"]
    assert before["fvd"] > after["fvd"] > real["fvd"]
    # Independent frames flicker far more than real clips, aligned ones do not.
    assert before["flicker"] > 2 * real["flicker"]
    assert after["flicker"] < 0.5 * before["flicker"]
    assert after["motion"] > 0.0
    with av.open(str(tmp_path / "side_by_side.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    with av.open(str(tmp_path / "drive" / "0000.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 180
    for name in ("side_by_side.gif", "contact_sheet.png", "run/metrics.jsonl"):
        assert (tmp_path / name).stat().st_size > 0
