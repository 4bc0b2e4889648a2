"""Set before anything of the package is imported: devices, strictness, checked annotations."""

import ctypes
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["VLDM_COMPILATION_CACHE"] = "off"  # what a test compiles is not what a user runs
# Tests compile much and run little: unoptimised code halves their time.
FLAGS = ["--xla_force_host_platform_device_count=4", "--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):  # later ones have only the emitters of twice the memory
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *FLAGS])
# What one worker or program has compiled, no other compiles again in this run.
CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled_")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# Tracing makes many objects and little garbage: looking for it as often as Python does by default
# takes a fifth of the time.
gc.set_threshold(200_000, 20, 100)

from jaxtyping import install_import_hook

install_import_hook("vldm_jax", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

MEGABYTES = 1000  # of a worker, above which it forgets what it has compiled

REFERENCES = ("torch", "diffusers", "transformers")
HAS_REFERENCES = sys.version_info < (3, 12)  # as the extra `test` of setup.py installs them


def pytest_addoption(parser):
    text = "a test that is skipped is a failure, but where the extra `test` has no references"
    parser.addoption("--no-skips", action="store_true", help=text)


def pytest_configure(config):
    missing = [name for name in REFERENCES if importlib.util.find_spec(name) is None]
    if config.getoption("--no-skips") and HAS_REFERENCES and missing:
        raise pytest.UsageError(f"--no-skips, but {missing} to compare with are not installed")


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """After a module, give back what jax and the allocator keep, once it is much."""
    yield
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    if pages * os.sysconf("SC_PAGE_SIZE") > MEGABYTES * 1e6:
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)


def pytest_unconfigure():
    if CACHE:
        shutil.rmtree(CACHE, ignore_errors=True)


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
