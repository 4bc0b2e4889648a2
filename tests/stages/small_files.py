"""A kernel that refuses large files, as a full disk does, and the records of a run."""

import json
import resource


def limited(function, number, size=1000):
    """What a function does, with files of at most so many bytes at its call of this number."""
    calls = []

    def call(*args):
        calls.append(args)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if len(calls) == number else soft, hard))
        try:
            return function(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return call


def records(folder):
    """The records of a run's metrics."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
