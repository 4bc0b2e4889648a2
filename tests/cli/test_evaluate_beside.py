"""`vldm evaluate` with more than clips: originals, captions, chunks and tiles, drawn frames."""

import csv
import json

import numpy as np
import pytest
from moving_scenes import scene
from PIL import Image
from safetensors.numpy import load_file, save_file
from small_clip import write_clip

from vldm_jax.cli import main as entry
from vldm_jax.data.write import write_video
from vldm_jax.evals.clips import folder_clips
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.extractors import EXTRACTORS
from vldm_jax.evals.image_quality import psnr
from vldm_jax.evals.networks.clip import clip_similarity, load_clip

FAST = ["--frames", "6"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_FEATURE_CACHE", str(tmp_path / "numbers"))


@pytest.fixture
def folders(tmp_path):
    """Four videos, and what a bad decoder makes of them."""
    for number in range(4):
        video = scene(12, number)
        write_video(tmp_path / "real" / f"{number}.mp4", video, 8)
        write_video(tmp_path / "made" / f"{number}.mp4", video // 2 + 64, 8)
    return ["--real", str(tmp_path / "real"), "--samples", str(tmp_path / "made")]


@pytest.fixture
def captions(tmp_path):
    table = {str(number): f"car number {'abcd'[number]}" for number in range(4)}
    (tmp_path / "captions.json").write_text(json.dumps(table))
    return ["--captions", tmp_path / "captions.json"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("network") / "clip")


def evaluate(*argv):
    return entry.main(["evaluate", *map(str, argv)])


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def clips_in(tmp_path, kind):
    """All clips of a folder by what they are called."""
    clips = folder_clips(
        tmp_path / kind, shape=(6, 32, 48), fps=8.0, windows="first", seed=0, cuts=False,
        index=tmp_path / f"{kind}.json",
    )  # fmt: skip
    return {clips.describe(i): clips.read(i) for i in range(clips.count)}


# Pairs.


def test_reconstructions_are_held_against_their_originals_and_have_no_floor(
    folders, tmp_path, capsys
):
    write_video(tmp_path / "made" / "alone.mp4", scene(12, 9), 8)
    out = tmp_path / "out"
    assert evaluate(*folders, *FAST, "--figures", "psnr,ssim", "--out", out) == 0
    metrics, said = metrics_of(out), capsys.readouterr().out
    found = metrics["figures"]["psnr"]
    made, real = (clips_in(tmp_path, kind) for kind in ("made", "real"))
    expected = [psnr(made[name][None], real[name][None])[0] for name in real]
    assert found["value"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert found["floor"] is None and found["floor_interval"] is None and found["clips"] == 4
    assert "no floor)" in said
    assert "pairs: 1 video left out: no reference of that name (alone.mp4)\n" in said
    assert metrics["left_out"]["reference"] == {"no reference of that name": ["alone.mp4"]}
    assert metrics["recipe"]["beside"]["reference"]["clips"] == 4
    for name in ("figures.png", "best_and_worst.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 50


def test_pairs_and_distributions_in_one_call(folders, tmp_path):
    argv = [*folders, *FAST, "--figures", "psnr,flicker", "--out", tmp_path / "out"]
    assert evaluate(*argv) == 0
    figures = metrics_of(tmp_path / "out")["figures"]
    assert figures["psnr"]["clips"] == 4 and figures["psnr"]["floor"] is None
    assert figures["flicker"]["clips"] == 4 and figures["flicker"]["floor"] > 0


def test_equal_frames_are_counted_and_other_originals_are_another_recipe(folders, tmp_path, capsys):
    same = (tmp_path / "real" / "0.mp4").read_bytes()
    (tmp_path / "made" / "0.mp4").write_bytes(same)
    argv = [*folders, *FAST, "--figures", "psnr"]
    assert evaluate(*argv, "--out", tmp_path / "one") == 0
    line = "psnr: 6 of 24 frames equal their originals: left out"
    assert line in capsys.readouterr().out
    write_video(tmp_path / "real" / "3.mp4", scene(12, 30), 8)
    assert evaluate(*argv, "--out", tmp_path / "two") == 0
    one, two = (metrics_of(tmp_path / name) for name in ("one", "two"))
    assert line in one["notes"] and one["recipe_id"] != two["recipe_id"]


def test_equal_clips_are_equal_and_not_endlessly_good(folders, tmp_path, capsys):
    for number in range(4):
        whole = (tmp_path / "real" / f"{number}.mp4").read_bytes()
        (tmp_path / "made" / f"{number}.mp4").write_bytes(whole)
    argv = [*folders, *FAST, "--figures", "psnr,ssim", "--out", tmp_path / "out"]
    assert evaluate(*argv) == 0
    assert "| equal (no floor) | 1 (1 to 1; no floor) |" in capsys.readouterr().out
    text = (tmp_path / "out" / "metrics.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)  # no Infinity, which is no JSON
    assert found["figures"]["psnr"]["value"] == "equal"
    beside = ["--beside", tmp_path / "out" / "metrics.json", "--out", tmp_path / "two"]
    assert evaluate(*folders, *FAST, "--figures", "psnr", *beside) == 0


# Captions.


@pytest.fixture
def clipsim(folders, captions, network):
    return [*folders, *FAST, "--figures", "clipsim", *captions, "--network", f"clip={network}"]


def test_clipsim_is_the_cosine_of_frames_and_captions(clipsim, tmp_path, network):
    assert evaluate(*clipsim, "--real-windows", "first", "--out", tmp_path / "out") == 0
    found = metrics_of(tmp_path / "out")["figures"]["clipsim"]
    clip = load_clip(network)
    for kind, key in (("made", "value"), ("real", "floor")):
        clips = clips_in(tmp_path, kind)
        texts = [f"car number {'abcd'[int(name[0])]}" for name in clips]
        expected = clip_similarity(clip, np.stack(list(clips.values())), texts).mean()
        assert found[key] == pytest.approx(expected, abs=1e-4)


def test_captions_and_seed_are_in_the_recipe(clipsim, tmp_path):
    table = tmp_path / "captions.json"
    many = {str(n): [f"{a} {b}" for a in "abcdefgh" for b in "xyz"] for n in range(4)}
    table.write_text(json.dumps(many))
    runs = {"one": [], "two": [], "seed": ["--seed", 1]}
    for name, more in runs.items():
        assert evaluate(*clipsim, *more, "--out", tmp_path / name) == 0
    many["0"] = ["another"]
    table.write_text(json.dumps(many))
    assert evaluate(*clipsim, "--out", tmp_path / "table") == 0
    found = {name: metrics_of(tmp_path / name) for name in (*runs, "table")}
    ids = {name: one["recipe_id"] for name, one in found.items()}
    assert ids["one"] == ids["two"] and len(set(ids.values())) == 3
    values = [found[name]["figures"]["clipsim"]["value"] for name in ("one", "two")]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    drawn = {name: one["recipe"]["beside_sha256"]["caption"] for name, one in found.items()}
    assert drawn["one"] != drawn["seed"]


def test_clipsim_needs_no_real_videos(clipsim, tmp_path, capsys):
    without = clipsim[2:]
    assert evaluate(*without, "--out", tmp_path / "out") == 0
    assert metrics_of(tmp_path / "out")["figures"]["clipsim"]["floor"] is None
    assert "too few real ones, so no floor" in capsys.readouterr().out


def test_one_real_clip_with_a_caption_is_no_floor_and_no_end(clipsim, tmp_path, capsys):
    for number in (1, 2, 3):
        (tmp_path / "real" / f"{number}.mp4").rename(tmp_path / "real" / f"other{number}.mp4")
    argv = [*clipsim, "--real-windows", "first", "--out", tmp_path / "out"]
    assert evaluate(*argv) == 0, capsys.readouterr().err
    assert metrics_of(tmp_path / "out")["figures"]["clipsim"]["floor"] is None
    assert "too few real ones, so no floor" in capsys.readouterr().out


def test_what_lacks_a_caption_or_is_too_long_is_said(clipsim, tmp_path, capsys):
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([("video", "caption"), ("0", "a"), ("1", "b"), ("2", "c " * 80)])
    argv = [*clipsim, "--captions", tmp_path / "captions.csv"]
    assert evaluate(*argv, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "clipsim: 1 video left out: no caption (3.mp4)" in said
    assert "clip: 1 of 3 captions are longer than 75 tokens and were cut, the first is of 2" in said
    assert metrics_of(tmp_path / "out")["left_out"]["caption"] == {"no caption": ["3.mp4"]}


def test_a_file_where_a_folder_is_taken_is_said(clipsim, network, tmp_path, capsys):
    file = network / "model.safetensors"
    assert evaluate(*clipsim, "--network", f"clip={file}", "--out", tmp_path / "out") == 2
    assert f"--network clip={file} is a file; clip takes the folder" in capsys.readouterr().err


def test_a_network_without_image_tower_is_one_line(clipsim, tmp_path, capsys):
    text = write_clip(tmp_path / "text", image=False)
    assert evaluate(*clipsim, "--network", f"clip={text}", "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "lacks 'vision_model" in err and "clip-vit-base-patch32" in err and err.count("\n") == 1


# Chunks, tiles, drawn frames.


@pytest.fixture
def flows(monkeypatch):
    """Rows as those of the optical flow: the change of brightness, the same everywhere."""

    def compute(videos):
        change = np.abs(np.diff(videos.mean(axis=(2, 3, 4)), axis=1)) / 255
        parts = [change, np.ones_like(change), change, np.zeros((len(videos), 29))]
        return np.concatenate(parts, axis=1)[:, None]

    monkeypatch.setitem(
        EXTRACTORS, "flow", lambda weights: Extractor(name="flow", compute=compute, recipe={})
    )


@pytest.fixture
def chunked(tmp_path, folders):
    """Samples that jump where chunks of four frames meet, and where tiles of 16x24 do."""
    for number in range(4):
        video = scene(12, number).astype(int)
        video[:, :, 24:] += 20
        video += (np.arange(12) // 4 * 12)[:, None, None, None]
        write_video(tmp_path / "made" / f"{number}.mp4", np.uint8(np.clip(video, 0, 255)), 8)
    return [*folders, "--frames", 12, "--figures", "seam_time,seam_space", "--tiles", "32x24"]


def test_seams_are_seen_at_their_borders_beside_those_of_real_clips(
    flows, chunked, tmp_path, monkeypatch
):
    write_video(tmp_path / "real" / "more.mp4", scene(96, 7), 8)
    runs = {"right": ["--chunk", 4], "listed": ["--borders", "4,8"], "wrong": ["--chunk", "6:3"]}
    found = {}
    for name, more in runs.items():
        assert evaluate(*chunked, *more, "--out", tmp_path / name) == 0
        found[name] = metrics_of(tmp_path / name)
    figures = {name: one["figures"] for name, one in found.items()}
    seam = figures["right"]["seam_time"]
    assert seam["value"] > 2 > seam["floor"]
    assert figures["right"]["seam_space"]["value"] > 1.3 * figures["right"]["seam_space"]["floor"]
    assert figures["wrong"]["seam_time"]["value"] < 1
    assert found["right"]["recipe"]["settings"] == {
        "borders": [4, 8],
        "tiles": {"rows": [], "columns": [24]},
    }
    assert seam["made_by"]["borders"] == [4, 8]
    ids = {name: one["recipe_id"] for name, one in found.items()}
    assert ids["right"] == ids["listed"] != ids["wrong"]
    tiles = ["--tiles", "16x24", "--chunk", 4, "--out", tmp_path / "tiles"]
    assert evaluate(*chunked, *tiles) == 0
    assert metrics_of(tmp_path / "tiles")["recipe_id"] != ids["right"]


def test_frames_are_drawn_for_figures_of_frames(folders, tmp_path, monkeypatch):
    def compute(videos):
        return videos.mean(axis=(2, 3)).astype(np.float32)

    monkeypatch.setitem(
        EXTRACTORS, "inception",
        lambda weights: Extractor(name="inception", compute=compute, recipe={}),
    )  # fmt: skip
    argv = [*folders, *FAST, "--figures", "fid"]
    runs = {"all": [], "few": ["--frames-drawn", 12], "again": ["--frames-drawn", 12]}
    runs |= {"seed": ["--frames-drawn", 12, "--seed", 1]}
    for name, more in runs.items():
        assert evaluate(*argv, *more, "--out", tmp_path / name) == 0
    found = {name: metrics_of(tmp_path / name) for name in runs}
    values = {name: one["figures"]["fid"]["value"] for name, one in found.items()}
    assert values["few"] == values["again"] and len(set(values.values())) == 3
    assert found["few"]["recipe"]["settings"] == {"drawn": {"frames": 12, "seed": 0}}
    ids = [found[name]["recipe_id"] for name in ("all", "few", "again", "seed")]
    assert ids[1] == ids[2] and len(set(ids)) == 3


# What cannot be.


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--figures", "clipsim"], "no package has the weights of clip: get the folder of openai"),
        (["--figures", "flicker", "--captions", "a.json"], "--captions says nothing to flicker"),
        (["--figures", "fvd", "--tiles", "8x8"], "--tiles says nothing to fvd"),
        (["--figures", "flicker", "--frames-drawn", "9"], "--frames-drawn says nothing"),
        (["--figures", "seam_space"], "seam_space is not defined without tiles"),
        (["--figures", "seam_time"], "seam_time is not defined without borders: say where chunks"),
        (["--figures", "seam_space", "--tiles", "64x64"], "clips of 32x48 have no border"),
        (["--figures", "seam_time", "--chunk", "8"], "--chunk 8: clips of 6 frames have borders"),
        (["--figures", "seam_time", "--chunk", "4:4"], "the overlap less than the frames"),
        (["--figures", "seam_time", "--chunk", "x"], "write 'x' as FRAMES"),
        (["--figures", "seam_time", "--borders", "4,0"], "write '4,0' as whole numbers"),
        (
            ["--figures", "seam_time", "--chunk", "4", "--sample-windows", "all"],
            "borders of chunks are counted from the first frame",
        ),
        (
            ["--figures", "seam_space", "--tiles", "8x8", "--size", "16x24"],
            "is 32x48, clips 16x24: where tiles meet is lost",
        ),
        (["--figures", "psnr", "--clips", "9"], "--clips 9: there are 4 samples with references"),
        (["--figures", "psnr", "--network", "ssim=a"], "ssim has no weights"),
    ],
)
def test_bad_input_is_one_line(folders, flows, tmp_path, capsys, argv, message):
    if "ssim=a" in argv:
        argv = ["--figures", "psnr,ssim", "--network", "ssim=a"]
    assert evaluate(*folders, *FAST, *argv, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert err.startswith("vldm: error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_captions_of_none_of_the_videos(clipsim, tmp_path, capsys):
    (tmp_path / "captions.json").write_text('{"elsewhere": "a car"}')
    assert evaluate(*clipsim, "--out", tmp_path / "out") == 2
    assert "has no caption of a video of" in capsys.readouterr().err
    assert evaluate(*clipsim[:-4], *clipsim[-2:], "--out", tmp_path / "out") == 2
    assert "clipsim takes --captions FILE" in capsys.readouterr().err


def test_folders_that_are_no_pairs(folders, tmp_path, capsys):
    for number in range(4):
        (tmp_path / "made" / f"{number}.mp4").rename(tmp_path / "made" / f"x{number}.mp4")
    argv = [*folders, *FAST, "--figures", "psnr,flicker", "--out", tmp_path / "out"]
    assert evaluate(*argv) == 2
    err = capsys.readouterr().err
    assert "4 no reference of that name" in err or "no reference of that name: 4" in err, err


def test_a_run_has_no_references(tmp_path, capsys):
    config = ["--config", "configs/driving/video.py:tiny"]
    argv = [*config, "--weights", "asset:driving/temporal.safetensors", "--figures", "psnr"]
    assert evaluate(*argv, "--out", tmp_path / "out") == 2
    assert "psnr takes a reference for each clip: give folders" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_one_line(clipsim, tmp_path, capsys):
    folder = write_clip(tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    tensors["visual_projection.weight"][0, 0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    assert evaluate(*clipsim, "--network", f"clip={folder}", "--out", tmp_path / "out") == 2
    assert "'visual_projection.weight' has values that are not" in capsys.readouterr().err
