"""A folder of samples knows what is made in it: the same samples go on there, others do not.

OUT/metadata.json says so, with "complete": false, before the first is made.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.configs import canonical, differences
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_new, write_json
from vldm_jax.core.json_files import read_json

METADATA = "metadata.json"
MOST = 2  # differences that one line has room for


def begin(out: Path, about: Mapping[str, Any]) -> None:
    """Claim a folder for samples: a new one, or one of the very same samples, which are made again.

    Raises:
        InputError: if it holds anything else; of other samples, naming what they have otherwise.
    """
    earlier = read_json(out / METADATA, "metadata of samples") if (out / METADATA).exists() else {}
    if {**earlier, "complete": False} != canonical(about):
        if earlier and (lines := differences(earlier, about, ("complete",))):
            more = f" (and {len(lines) - MOST} more)" if len(lines) > MOST else ""
            raise InputError(
                f"{out} exists and holds other samples: {'; '.join(lines[:MOST])}{more}: choose "
                "another folder, or set these back to go on"
            )
        check_new(out)
    write_json(out / METADATA, about)
