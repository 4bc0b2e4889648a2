import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import active_children
from pathlib import Path

import av
import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.data import workers
from vldm_jax.data.faults import VideoError
from vldm_jax.data.pipeline import make_loader
from vldm_jax.data.workers import Fetcher, Portable, WorkerError


class Numbers:
    """Example i holds i, and enough of it that it goes through shared memory."""

    def __len__(self):
        return 100

    def __getitem__(self, key):
        return {"key": np.int32(key), "video": np.full((200, 200, 3), int(key), np.uint8)}


ARGS = dict(batch_size=2, seed=0, shuffle=True)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stopped_worker_is_named_a_dead_one_ends_it_and_signals_are_for_the_parent(
    monkeypatch, capsys
):
    with make_loader(Numbers(), **ARGS) as loader:
        expected = [next(loader)["key"].tolist() for _ in range(40)]
    before = set(active_children())
    with make_loader(Numbers(), worker_count=2, **ARGS) as loader:
        got = [next(loader)["key"].tolist() for _ in range(4)]
        pids = sorted(process.pid for process in set(active_children()) - before)
        assert len(pids) == 2

        # Ctrl-C and schedulers reach all processes of a job; the sender is not the parent.
        subprocess.run(["sh", "-c", "kill -INT $0 $1; kill -TERM $0 $1", *map(str, pids)])
        time.sleep(0.5)
        got += [next(loader)["key"].tolist() for _ in range(6)]
        assert got == expected[:10] and "waiting" not in capsys.readouterr().err

        monkeypatch.setattr(workers, "LATE_SECONDS", 1.0)
        os.kill(pids[0], signal.SIGSTOP)
        with subprocess.Popen(["sh", "-c", f"sleep 2.5; kill -CONT {pids[0]}"]):
            got += [next(loader)["key"].tolist() for _ in range(12)]
        said = [line for line in capsys.readouterr().err.splitlines() if "waiting" in line]
        assert len(said) == 1
        assert f"loader worker {pids[0]} is stopped; `kill -CONT {pids[0]}`" in said[0]

        os.kill(pids[1], signal.SIGKILL)
        with pytest.raises(WorkerError, match=f"worker {pids[1]} has died of signal 9 .*memory"):
            while True:
                got.append(next(loader)["key"].tolist())
        assert got == expected[: len(got)]
        assert loader.get_state()["position"] == 2 * len(got)
    assert not any(map(is_alive, pids))


def test_workers_end_with_a_run_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys, time
            sys.path[:0] = {sys.path!r}
            from multiprocessing import active_children
            from test_workers import ARGS, Numbers
            from vldm_jax.data.pipeline import make_loader

            if __name__ == "__main__":
                loader = make_loader(Numbers(), worker_count=2, **ARGS)
                for _ in range(2):
                    next(loader)
                print(*(process.pid for process in active_children()), flush=True)
                time.sleep(60)
            """
        )
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as run:
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_alive, pids))
        run.kill()
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


class Batches:
    """What grain gives, without its processes."""

    def __init__(self, *seconds):
        self.seconds, self.closed = list(seconds), False

    def __next__(self):
        if not self.seconds:
            raise StopIteration
        time.sleep(self.seconds.pop(0))
        return len(self.seconds)

    def close(self):
        self.closed = True


def test_without_workers_a_late_batch_is_told_once_and_comes(monkeypatch, capsys):
    monkeypatch.setattr(workers, "LATE_SECONDS", 1.0)
    fetcher = Fetcher(lambda: Batches(2.2, 0), 0)
    assert fetcher.fetch() == 1
    assert capsys.readouterr().err.count("waiting for a batch for 1 s: it is being prepared") == 1
    assert fetcher.fetch() == 0
    with pytest.raises(StopIteration):
        fetcher.fetch()
    assert capsys.readouterr().err == ""


def test_a_fetcher_that_is_dropped_closes_its_iterator():
    batches = Batches(0)
    fetcher = Fetcher(lambda: batches, 0)
    fetcher.fetch()
    assert not batches.closed
    del fetcher
    assert batches.closed


def test_a_worker_that_cannot_even_start_is_one_line():
    class Failing(Batches):
        def __next__(self):
            raise RuntimeError(
                "Worker process was terminated unexpectedly with exit code 1. Search the logs above"
            )

    with pytest.raises(WorkerError, match="has ended: .*terminated unexpectedly with exit code 1$"):
        Fetcher(Failing, 1).fetch()


class Unsendable(Exception):
    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")


class Forgetful(Exception):
    def __init__(self, path=None):
        super().__init__()
        self.path = path

    def __str__(self):
        return f"{self.path} is bad"

    def __reduce__(self):
        return Forgetful, ()


@pytest.mark.parametrize(
    "error", [Unsendable("a.mp4", "is bad"), Forgetful("a.mp4"), TypeError(lambda: "a.mp4 is bad")]
)
def test_an_error_that_cannot_be_sent_keeps_its_words(error):
    class Source(Numbers):
        def __getitem__(self, key):
            raise error

    with pytest.raises(RuntimeError) as caught:
        Portable(Source())[0]
    sent = pickle.loads(pickle.dumps(caught.value))
    assert str(sent) == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    "error",
    [InputError("a.mp4: cut: fetch it"), VideoError("a", "b", "c"), KeyError("labels")],
)
def test_an_error_that_can_be_sent_stays_what_it_is(error):
    class Source(Numbers):
        def __getitem__(self, key):
            raise error

    with pytest.raises(type(error)) as caught:
        Portable(Source())[0]
    assert caught.value is error


def test_what_pyav_raises_reaches_the_parent(tmp_path):
    (tmp_path / "a.mp4").write_text("text")

    class Source(Numbers):
        def __getitem__(self, key):
            av.open(str(tmp_path / "a.mp4"))

    with pytest.raises(Exception, match="Invalid data found") as caught:
        Portable(Source())[0]
    assert "Invalid data found" in str(pickle.loads(pickle.dumps(caught.value)))
