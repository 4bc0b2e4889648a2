"""A table of a paper by one command: every arm trained and evaluated with several seeds.

    python launch/table.py alignment [--seeds 3] [--out runs/tables/alignment]

The table is `launch/tables/NAME.py`; see the first for what one says. Each training, and each
evaluation, is a command of `vldm`, run in a process of its own one after another. What is begun is
noted in OUT/begun and what is done in OUT/done, each with its command, so that the same command
goes on where it was stopped or killed, and a table that was changed since is not mixed with what
was made before. Notes also tell the code (version, git revision, SHA-256 of the sources) and the
config's content: where steps were made by different ones, the table says so, and goes on. A command
ends with this process, whatever ended that, and one process at a time works in OUT. Results, so far
as there are any:

    OUT/table.md      mean over seeds with its interval, floors, and which orderings hold
    OUT/table.json    the same as values, a seed each
    OUT/table.png     a point a seed, the mean, the floor
"""

import argparse
import contextlib
import ctypes
import dataclasses
import fcntl
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ml_collections import ConfigDict

from vldm_jax.checkpoint.configs import canonical
from vldm_jax.cli.flags import load_config
from vldm_jax.core import code
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.evals.arms import write_table
from vldm_jax.evals.made_by import told_apart

WHAT = "notes of launch/table.py"
TABLES = Path(__file__).parent / "tables"
BEGUN, DONE, LOCK = "begun", "done", ".lock"
PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One command.

    Attributes:
        name: of the notes that it is begun, and done.
        argv: of `vldm`.
        result: file that it writes last, where it refuses to write it over; None where it goes on.
    """

    name: str
    argv: tuple[str, ...]
    result: Path | None = None


def main() -> None:
    """Run every step that is not done, and write the table after each evaluation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", help=f"one of {', '.join(names())}")
    parser.add_argument("--seeds", type=int, default=3, help="trainings an arm")
    parser.add_argument("--out", type=Path, help="folder, runs/tables/NAME")
    args = parser.parse_args()
    if args.seeds < 1:
        raise InputError(f"--seeds must be at least 1, got {args.seeds}")
    table, out = load(args.name), args.out or Path("runs") / "tables" / args.name
    steps = list(steps_of(table, out, args.seeds))
    check_made(out, steps)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with owned(out) as lock:
        for line in apart(out, steps, pending=True):
            print(f"note: {line}", flush=True)
        for number, step in enumerate(steps, start=1):
            if not note(out, DONE, step).exists():
                print(f"[{number} of {len(steps)}] vldm {' '.join(step.argv)}", flush=True)
                make(step, out, lock)
                write(table, out, args.seeds, apart(out, steps))
        write(table, out, args.seeds, apart(out, steps))
    print((out / "table.md").read_text(encoding="utf-8"))


@contextlib.contextmanager
def owned(out: Path) -> Iterator[int]:
    """Yield a descriptor of a locked file of OUT; commands that hold it, too, keep it locked.

    Raises:
        InputError: if another process works there, or a command that it left.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out} is in use by another launch/table.py, or by a command of one that was "
                "killed, which saves and ends: wait for it, or give another --out"
            ) from None
        except OSError as error:  # a file system without locks
            print(f"note: {out} cannot be locked ({error.strerror}): start one at a time")
        yield file.fileno()


def names() -> list[str]:
    """Return the tables that there are."""
    return sorted(path.stem for path in TABLES.glob("*.py"))


def load(name: str) -> ConfigDict:
    """Return a table by its name.

    Raises:
        InputError: if there is no such one.
    """
    if name not in names():
        raise InputError(f"there is no table {name!r}: choose one of {', '.join(names())}")
    spec = importlib.util.spec_from_file_location(name, TABLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_table()


def steps_of(table: ConfigDict, out: Path, seeds: int) -> Iterator[Step]:
    """Yield all commands in order: worlds, then seed by seed trainings and evaluations."""
    worlds = {name: str(out / "worlds" / name) for name in table.worlds}
    for name, flags in table.worlds.items():
        argv = ("data", "build", "driving", f"--out={worlds[name]}", *flags)
        yield Step(name=f"world_{name}", argv=argv)
    for seed in range(seeds):
        folder = out / f"seed{seed}"
        places = {**worlds, **{name: str(folder / name) for name in table.trainings}}
        for name, (config, *overrides) in table.trainings.items():
            words = (f"--config.{word}" for word in (*table.common, *overrides, f"seed={seed}"))
            argv = (
                "train",
                f"--config={config}",
                f"--workdir={places[name]}",
                *filled(words, places),
            )
            yield Step(name=f"seed{seed}_{name}", argv=argv)
            if name in table.arms:
                where = (f"--workdir={places[name]}", f"--out={figures(out, name, seed).parent}")
                argv = ("evaluate", *where, f"--name={name}", *filled(table.evaluate, places))
                yield Step(
                    name=f"seed{seed}_{name}_figures", argv=argv, result=figures(out, name, seed)
                )


def filled(words, places: dict[str, str]) -> tuple[str, ...]:
    """Return words with the folders that they name in braces."""
    return tuple(word.format(**places) for word in words)


def figures(out: Path, arm: str, seed: int) -> Path:
    """Return the file of an arm's figures with a seed."""
    return out / f"seed{seed}" / arm / "figures" / "metrics.json"


def note(out: Path, what: str, step: Step) -> Path:
    """Return the file that says that a step is begun or done, and by which command."""
    return out / what / f"{step.name}.json"


def check_made(out: Path, steps: list[Step]) -> None:
    """Raise if what is there, done or half done, was made by other commands than now.

    Raises:
        InputError: naming the first.
    """
    for step in steps:
        for path in (note(out, BEGUN, step), note(out, DONE, step)):
            if path.exists() and read_json(path, WHAT).get("command") != list(step.argv):
                raise InputError(
                    f"{step.name} in {out} was made by another command than the table has now: "
                    "give a new --out, or remove that one"
                )


def about(step: Step, earlier: dict | None = None) -> dict:
    """Return what a note says of a step that is made now, or goes on from an earlier beginning."""
    told = {"command": list(step.argv), "code": code.identity(), "config": config_sha256(step)}
    return told if earlier is None else told | {BEGUN: earlier.get(BEGUN, earlier.get("code"))}


def config_sha256(step: Step) -> str | None:
    """Return the SHA-256 of all that a step's config says, overrides and defaults among it."""
    names = [word.removeprefix("--config=") for word in step.argv if word.startswith("--config=")]
    if not names:
        return None
    words = [word for word in step.argv if word.startswith("--config.")]
    content = canonical(load_config(names[0], words).to_dict())
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def apart(out: Path, steps: list[Step], *, pending: bool = False) -> list[str]:
    """Return lines on steps that were made by other code, or from other configs, than others.

    Args:
        out: folder of the table.
        steps: of it.
        pending: whether those that are not done count, as made now.
    """
    files = {step.name: note(out, DONE, step) for step in steps}
    notes = {name: read_json(path, WHAT) for name, path in files.items() if path.exists()}
    if notes and pending:
        notes |= {step.name: about(step) for step in steps if step.name not in notes}
    return told_apart(notes, {step.name: config_sha256(step) for step in steps})


def make(step: Step, out: Path, lock: int) -> None:
    """Run a step, or find that it was killed between its result and the note of that."""
    begun = note(out, BEGUN, step)
    told = read_json(begun, WHAT) if begun.exists() else None
    if told is None or step.result is None or not step.result.exists():
        told = about(step, told)
        write_json(begun, told)
        run(step, lock)
    write_json(note(out, DONE, step), told)


def run(step: Step, lock: int) -> None:
    """Run a command of `vldm`; it ends with this process, and keeps its lock until then.

    Raises:
        SystemExit: with its exit code, if it fails.
    """
    command = [sys.executable, "-m", "vldm_jax", *step.argv]
    process = subprocess.Popen(command, pass_fds=(lock,), preexec_fn=bound_to_parent())
    try:
        code = process.wait()
    except (KeyboardInterrupt, SystemExit):
        process.send_signal(signal.SIGTERM)  # it saves, and says so
        process.wait()
        raise
    if code:
        sys.exit(code)


def bound_to_parent() -> Callable[[], None] | None:
    """Return what a new process calls to be sent SIGTERM when this one ends, even by SIGKILL.

    Elsewhere than on Linux there is no such thing: then the lock tells of a command that was left.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)

    return bind


def write(table: ConfigDict, out: Path, seeds: int, notes: list[str]) -> None:
    """Write the table of what has been evaluated."""
    found = {
        arm: {
            seed: json.loads(path.read_text(encoding="utf-8"))
            for seed in range(seeds)
            if (path := figures(out, arm, seed)).exists()
        }
        for arm in table.arms
    }
    write_table(
        out, found, says=table.says, first=table.first, figure=table.figure,
        published=table.arms.to_dict(), notes=notes,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"table: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
