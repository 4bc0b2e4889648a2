import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.driving.clips import open_canvas


@pytest.fixture(scope="session")
def renderer():
    """Skip what renders where nothing can: without panda3d, or with it but without libX11."""
    try:
        open_canvas(32, 64)
    except InputError as error:
        pytest.skip(str(error))
