"""What fails in an evaluation is said and counted, and raises nothing."""

import contextlib
import json
from contextlib import closing

import pytest
from small_files import limited, records

from vldm_jax.cli.evaluations import Evaluations
from vldm_jax.core.errors import InputError
from vldm_jax.evals.best import Best
from vldm_jax.training.metrics import MetricsLog
from vldm_jax.training.state import TrainState

FIGURE = {"value": 2.0, "floor": 1.0, "made_by": {}}
SAMPLES = {"sampling": {}, "diffusion": {}, "seed": 0, "step": 1}
METRICS = {"recipe_id": "a", "recipe": {"samples": SAMPLES}, "figures": {"fvd": FIGURE}}


def state(step):
    return TrainState(step, {}, {}, None)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device", "samples"), InputError("no pixel is visible")]
)
def test_a_failure_is_one_record_that_is_no_evaluation(tmp_path, capsys, error):
    """A start from that state evaluates it again, for the log has no figures of it."""

    def judge(state, step):
        if step in (2, 3):
            raise error
        return METRICS

    evaluations = Evaluations(judge, None, lambda *_: None)
    with closing(MetricsLog(tmp_path, tensorboard=False)) as log:
        assert evaluations.summary() == ""
        for step in (1, 2, 3, 4):
            evaluations(state(step), step, log)
    found = records(tmp_path)
    assert [record["step"] for record in found] == [1, 2, 3, 4]
    assert found[1:3] == [
        {"step": 2, "failed_evaluations": 1.0}, {"step": 3, "failed_evaluations": 2.0},
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert f"no figures after step 3: {error}" in said and "figures after step 4: fvd 2 " in said
    assert evaluations.summary().startswith("2 evaluations failed, after steps 2, 3: ")
    for step, evaluated in ((3, False), (1, True)):
        with closing(MetricsLog(tmp_path, step, tensorboard=False)) as log:
            assert log.evaluated == evaluated


def test_best_weights_that_find_no_room_leave_their_figures(tmp_path, capsys):
    def write(folder, state, step):
        (folder / "weights").write_bytes(b"0" * 2000)

    best = Best(tmp_path / "best", "fvd")
    best.offer = limited(best.offer, number=1)
    evaluations = Evaluations(lambda state, step: METRICS, best, write)
    with closing(MetricsLog(tmp_path, tensorboard=False)) as log:
        evaluations(state(1), 1, log)
        assert not (tmp_path / "best").exists()
        evaluations(state(2), 2, log)
    assert "weights of step 1 are not kept: " in capsys.readouterr().err
    failed, *found = records(tmp_path)
    assert failed == {"step": 1, "failed_evaluations": 1.0}
    assert [(record["step"], record["eval/fvd"]) for record in found] == [(1, 2.0), (2, 2.0)]
    assert json.loads((tmp_path / "best" / "metrics.json").read_text())["step"] == 2


def test_a_log_that_takes_no_record_of_a_failure_does_not_end_the_run(tmp_path, capsys):
    """`/dev/full` is a disk without room."""

    def fails(state, step):
        raise OSError(28, "No space left on device", "samples")

    log = MetricsLog(tmp_path, tensorboard=False)
    log._lines.close()
    with contextlib.suppress(OSError), open("/dev/full", "w", buffering=1) as log._lines:
        evaluations = Evaluations(fails, None, lambda *_: None)
        evaluations(state(7), 7, log)
    said = capsys.readouterr().err
    assert "no figures after step 7: [Errno 28] No space left on device" in said
    assert "that is in no record, either: " in said and evaluations.failed == [7]
