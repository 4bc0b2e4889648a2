"""`make test` must not pass because what it compares with was not there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = {
    "inside": "import pytest\n\n\ndef test_a():\n    pytest.skip('no torch')\n",
    "at import": "import pytest\n\npytest.importorskip('a_module_that_is_not')\n",
}


@pytest.mark.parametrize("where", SKIPPING)
def test_a_skip_is_a_failure_where_none_is_allowed(tmp_path, where):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_skipping.py").write_text(SKIPPING[where])
    (tmp_path / "test_passing.py").write_text("def test_b():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    strict = subprocess.run([*command, "--no-skips"], capture_output=True, text=True, cwd=tmp_path)
    assert strict.returncode == pytest.ExitCode.TESTS_FAILED
    assert "--no-skips: tests were skipped" in strict.stdout
    assert subprocess.run(command, capture_output=True, cwd=tmp_path).returncode == 0
