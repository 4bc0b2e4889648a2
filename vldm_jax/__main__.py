"""`python -m vldm_jax` is the console script `vldm`."""

import sys

from vldm_jax.cli.main import main

sys.exit(main())
