"""`make test` must not pass because what it compares with was not there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = {
    "inside": "import pytest\n\n\ndef test_a():\n    pytest.skip('no screen')\n",
    "at import": "import pytest\n\npytest.importorskip('a_module_that_is_not')\n",
}
NO_TORCH = "import pytest\n\n\ndef test_a():\n    pytest.skip('needs torch')\n"


def run(folder, *flags):
    """Run a passing test beside `folder`'s with this suite's conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_passing.py").write_text("def test_b():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("where", ["inside", pytest.param("at import", marks=pytest.mark.slow)])
def test_a_skip_is_a_failure_where_none_is_allowed(tmp_path, where):
    (tmp_path / "test_skipping.py").write_text(SKIPPING[where])
    strict = run(tmp_path, "--no-skips")
    assert strict.returncode == pytest.ExitCode.TESTS_FAILED
    assert "--no-skips: tests were skipped" in strict.stdout
    assert run(tmp_path).returncode == 0


def test_only_a_python_without_the_references_may_skip_for_want_of_them(tmp_path):
    (tmp_path / "test_skipping.py").write_text(NO_TORCH)
    has_references = sys.version_info < (3, 12)
    assert bool(run(tmp_path, "--no-skips").returncode) == has_references
