"""Set before anything of the package is imported: devices, strictness, checked annotations."""

import importlib.util
import os
import sys

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["VLDM_COMPILATION_CACHE"] = "off"  # what a test compiles is not what a user runs
# Tests compile much and run little: unoptimised code halves their time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        *os.environ.get("XLA_FLAGS", "").split(),
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
    ]
)

from jaxtyping import install_import_hook

install_import_hook("vldm_jax", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

REFERENCES = ("torch", "diffusers", "transformers")
HAS_REFERENCES = sys.version_info < (3, 12)  # as the extra `test` of setup.py installs them


def pytest_addoption(parser):
    text = "a test that is skipped is a failure, but where the extra `test` has no references"
    parser.addoption("--no-skips", action="store_true", help=text)


def pytest_configure(config):
    missing = [name for name in REFERENCES if importlib.util.find_spec(name) is None]
    if config.getoption("--no-skips") and HAS_REFERENCES and missing:
        raise pytest.UsageError(f"--no-skips, but {missing} to compare with are not installed")


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--no-skips") or reporter is None:
        return
    if not all(_for_want_of_a_reference(report) for report in reporter.stats.get("skipped", [])):
        reporter.write_line("--no-skips: tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _for_want_of_a_reference(report):
    reason = str(report.longrepr[2]).lower()
    return not HAS_REFERENCES and any(name in reason for name in REFERENCES)
