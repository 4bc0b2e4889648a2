import pytest

from vldm_jax.driving.pool import run_all


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    jobs = [(number, 7) for number in range(20, 0, -1)]
    assert list(run_all(divmod, jobs, workers)) == [divmod(*job) for job in jobs]


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_taken_as_they_are_needed(workers):
    taken = []

    def jobs():
        for number in range(1000):
            taken.append(number)
            yield number, 1

    results = run_all(divmod, jobs(), workers)
    assert next(results) == (0, 0) and len(taken) <= 2 * workers
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_reaches_the_caller(workers):
    with pytest.raises(ZeroDivisionError):
        list(run_all(divmod, [(1, 1), (1, 0)], workers))
