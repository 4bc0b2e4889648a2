"""Set before anything of the package is imported: devices, strictness, checked annotations."""

import importlib.util
import os

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


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped is a failure")


def pytest_configure(config):
    missing = [name for name in REFERENCES if importlib.util.find_spec(name) is None]
    if config.getoption("--no-skips") and missing:
        raise pytest.UsageError(f"--no-skips, but {missing} to compare with are not installed")


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("--no-skips: tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
