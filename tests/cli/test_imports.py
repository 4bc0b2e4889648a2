"""What starting costs: no jax to print the usage, no data pipeline for a word that is misspelt.

And never torch, though it is installed.
"""

import os
import subprocess
import sys

USAGE = "import vldm_jax\nfrom vldm_jax.cli.main import main\nmain(['--help'])"
COMMANDS = """
import importlib
from vldm_jax.cli.main import COMMANDS
for name in COMMANDS:
    importlib.import_module(f"vldm_jax.cli.{name}")
"""
FIGURES = """
import sys
from vldm_jax.training.metrics import MetricsLog
log = MetricsLog(sys.argv[1])
log.scalars(1, {"loss": 0.5})
log.close()
"""


def loaded(code, *argv, path=""):
    """Names in `sys.modules` of a fresh interpreter after `code`, `path` before all packages."""
    env = os.environ | {"PYTHONPATH": str(path)}
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)", *argv]
    result = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_the_package_and_its_usage_need_no_array_library():
    assert not loaded(USAGE) & {"jax", "numpy", "torch"}


def test_no_command_imports_what_it_may_not_need_and_none_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise AssertionError('torch was imported')")
    modules = loaded(COMMANDS + FIGURES, str(tmp_path / "run"), path=tmp_path)
    assert not modules & {"torch", "grain", "tensorflow_datasets", "panda3d"}
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
