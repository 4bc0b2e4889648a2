import json
import subprocess
import sys
import textwrap
import time
from multiprocessing import active_children

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data.pipeline import make_loader
from vldm_jax.data.read import VideoError
from vldm_jax.data.source import folder_source


class Numbers:
    """The smallest source: example i holds i."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        return {"key": np.int32(key), "video": np.full((2, 200, 200, 3), int(key) % 256, np.uint8)}


def keys(loader, count=None):
    with loader:
        batches = [batch["key"] for batch in loader] if count is None else None
        if batches is None:
            batches = [next(loader)["key"] for _ in range(count)]
    return np.array(batches)


ARGS = dict(batch_size=3, seed=7, shuffle=True)


def test_one_seed_is_one_order():
    a, b = (keys(make_loader(Numbers(20), **ARGS), 12) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    other = keys(make_loader(Numbers(20), **{**ARGS, "seed": 8}), 12)
    assert (a != other).any()


def test_every_epoch_has_every_example_once_in_a_new_order():
    epochs = keys(make_loader(Numbers(20), **ARGS), 20).reshape(3, 20)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(20), (3, 1)))
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_without_shuffle_the_order_is_the_sources():
    order = keys(make_loader(Numbers(6), batch_size=4, seed=0, shuffle=False), 3)
    np.testing.assert_array_equal(order, [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]])


@pytest.mark.parametrize("count", [24, 25, 29])
def test_processes_share_an_epoch_without_overlap_and_in_step(count):
    shards = [
        keys(make_loader(Numbers(count), num_epochs=1, process_index=p, process_count=2, **ARGS))
        for p in range(2)
    ]
    assert shards[0].shape == shards[1].shape == (count // 6, 3)
    seen = np.concatenate([shard.ravel() for shard in shards])
    assert len(set(seen)) == len(seen) == count // 6 * 6


def test_a_step_sees_the_same_examples_on_any_number_of_processes():
    one = keys(make_loader(Numbers(20), batch_size=6, seed=7, shuffle=True), 8)
    two = [
        keys(make_loader(Numbers(20), process_index=p, process_count=2, **ARGS), 8)
        for p in range(2)
    ]
    np.testing.assert_array_equal(np.sort(one, 1), np.sort(np.concatenate(two, 1), 1))


def test_the_end():
    assert keys(make_loader(Numbers(7), num_epochs=1, **ARGS)).shape == (2, 3)
    with make_loader(Numbers(7), num_epochs=1, drop_remainder=False, **ARGS) as loader:
        assert [len(batch["key"]) for batch in loader] == [3, 3, 1]
        with pytest.raises(StopIteration):
            next(loader)


@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_going_on_from_a_saved_position_is_as_if_never_stopped(stop):
    whole = keys(make_loader(Numbers(20), **ARGS), 14)
    first = make_loader(Numbers(20), **ARGS)
    for _ in range(stop):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    first.close()
    again = make_loader(Numbers(20), **ARGS)
    next(again)
    again.set_state(state)
    np.testing.assert_array_equal(keys(again, 14 - stop), whole[stop:])


def test_a_position_moves_to_another_number_of_processes():
    with make_loader(Numbers(20), batch_size=6, seed=7, shuffle=True) as one:
        for _ in range(4):
            next(one)
        state = one.get_state()
    shards = []
    for p in range(2):
        loader = make_loader(Numbers(20), process_index=p, process_count=2, **ARGS)
        loader.set_state(state)
        shards.append(keys(loader, 3))
    whole = keys(make_loader(Numbers(20), batch_size=6, seed=7, shuffle=True), 7)[4:]
    np.testing.assert_array_equal(np.sort(whole, 1), np.sort(np.concatenate(shards, 1), 1))


def test_a_position_knows_what_the_examples_are_wherever_they_lie():
    state = make_loader(Numbers(20), fingerprint=1, **ARGS).get_state()
    make_loader(Numbers(20), fingerprint=1, **ARGS).set_state(state)
    with pytest.raises(InputError, match="fingerprint 1, this data has 2"):
        make_loader(Numbers(20), fingerprint=2, **ARGS).set_state(state)
    del state["fingerprint"]  # of an earlier version
    make_loader(Numbers(20), fingerprint=2, **ARGS).set_state(state)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 8}, "position is of seed 7, this data has 8"),
        ({"shuffle": False}, "shuffle 1, this data has 0"),
        ({"batch_size": 4}, "not a multiple of the global batch of 4"),
    ],
)
def test_a_position_of_other_data_is_refused(change, message):
    with make_loader(Numbers(20), **ARGS) as loader:
        next(loader)
        state = loader.get_state()
    with pytest.raises(InputError, match=message):
        make_loader(Numbers(20), **{**ARGS, **change}).set_state(state)
    with pytest.raises(InputError, match="num_examples 20, this data has 21"):
        make_loader(Numbers(21), **ARGS).set_state(state)


@pytest.mark.parametrize("damage", [{}, {"seed": "7"}, {"position": None}, {"shuffle": True}])
def test_a_damaged_position_is_one_clear_line(damage):
    with make_loader(Numbers(20), **ARGS) as loader:
        state = loader.get_state() | damage if damage else {}
        with pytest.raises(InputError, match="the saved data position is damaged: take another"):
            loader.set_state(state)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 21}, "20 examples, fewer than one global batch of 21"),
        ({"process_count": 7}, "fewer than one global batch of 21"),
        ({"batch_size": 0}, "batch_size=0 must be positive"),
        ({"worker_count": -1}, r"worker_count=-1 \(config\.data\.workers\) must be 0"),
        ({"process_index": 2, "process_count": 2}, "process_index=2 below process_count=2"),
        ({"process_count": 2, "drop_remainder": False}, "different numbers of batches"),
    ],
)
def test_impossible_requests_are_one_clear_line(change, message):
    with pytest.raises(InputError, match=message) as caught:
        make_loader(Numbers(20), **{**ARGS, **change})
    assert "\n" not in str(caught.value)


class Slow(Numbers):
    """Takes 20 ms an example."""

    def __getitem__(self, key):
        time.sleep(0.02)
        return super().__getitem__(key)


def test_the_next_batch_is_ready_when_the_consumer_comes_back():
    """A batch of 4 takes 80 ms to prepare and 120 ms to consume: then nothing is left to wait."""
    waits = []
    with make_loader(Slow(100), batch_size=4, seed=0, shuffle=True) as loader:
        for _ in range(10):
            start = time.perf_counter()
            next(loader)
            waits.append(time.perf_counter() - start)
            time.sleep(0.12)
    assert waits[0] > 0.08  # the first has to be prepared
    assert np.median(waits[2:]) < 0.02


def test_a_video_that_breaks_later_stops_the_run_and_is_not_replaced(clips):
    source = folder_source(clips, height=32, width=64, fps=7.5, num_frames=4)
    (clips / "b.mp4").write_bytes(b"")
    with make_loader(source, batch_size=2, seed=0, shuffle=True) as loader:
        with pytest.raises(InputError, match="b.mp4"):
            for _ in range(18):
                next(loader)


def test_worker_processes_give_the_same_batches_and_errors(clips):
    source = folder_source(clips, height=32, width=64, fps=7.5, num_frames=4)
    args = dict(batch_size=4, seed=1, shuffle=True)
    with make_loader(source, num_epochs=1, **args) as loader:
        expected = list(loader)
    before = set(active_children())
    loader = make_loader(source, worker_count=2, **args)
    next(loader)
    state = loader.get_state()
    got = [next(loader) for _ in range(3)]
    assert state["position"] == 4
    for a, b in zip(expected[1:], got, strict=False):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
            assert type(b[name]) is np.ndarray  # not a view of memory that the worker takes back
    (clips / "b.mp4").write_bytes(b"")
    with pytest.raises(
        VideoError, match=rf"{clips}/b\.mp4: .*it is empty.*get the file again"
    ) as caught:
        while True:
            next(loader)
    assert caught.value.reason
    loader.close()
    assert set(active_children()) <= before


def test_worker_processes_under_a_plain_script_end_without_a_word(clips, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from vldm_jax.data.pipeline import make_loader
            from vldm_jax.data.source import folder_source

            if __name__ == "__main__":
                source = folder_source({str(clips)!r}, height=32, width=64, fps=7.5, num_frames=4)
                loader = make_loader(source, batch_size=4, seed=1, shuffle=True, worker_count=2)
                kept = [next(loader)["video"] for _ in range(3)]
                loader.close()
                print("sum", sum(int(video.sum()) for video in kept))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("sum ")
    assert done.stderr == ""
