"""What is due after a step: at its own rates, and at the end."""

from vldm_jax.training.timetable import Timetable

TABLE = Timetable(total_steps=10, log_every=2, save_every=3, sample_every=4, evaluate_every=5)


def test_everything_has_its_own_rate():
    due = {n: TABLE.due(n, stopping=False) for n in range(1, 10)}
    assert [n for n in due if due[n].log] == [2, 4, 6, 8]
    assert [n for n in due if due[n].save] == [3, 6, 9]
    assert [n for n in due if due[n].sample] == [4, 8]
    assert [n for n in due if due[n].evaluate] == [5]


def test_a_complete_run_ends_with_everything():
    assert TABLE.due(10, stopping=False) == (True, True, True, True)
    assert Timetable(total_steps=10).due(10, stopping=False).sample


def test_a_run_whose_time_is_up_has_a_preview_and_figures_and_a_stopped_one_does_not_wait_for_it():
    assert TABLE.due(6, stopping=True) == (True, True, True, True)
    assert TABLE.due(6, stopping=True, hurried=True) == (True, True, False, False)
    assert not TABLE.due(5, stopping=True, hurried=True).evaluate


def test_nothing_is_evaluated_unless_that_is_asked_for():
    never = Timetable(total_steps=10)
    ends = [never.due(10, stopping=False), never.due(5, stopping=True)]
    assert all(due.sample and not due.evaluate for due in ends)
