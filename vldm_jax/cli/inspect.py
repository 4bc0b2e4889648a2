"""`vldm inspect`: what a checkpoint or weights file holds, and what it was trained on."""

from collections.abc import Sequence

from vldm_jax.checkpoint.inspect import describe
from vldm_jax.cli.flags import Parser
from vldm_jax.core.assets import resolve
from vldm_jax.nn.mixer import mixes


def run(argv: Sequence[str]) -> None:
    """Parse the flags and print the summary."""
    parser = Parser("inspect", "Say what a checkpoint, a workdir or a weights file holds.")
    help_path = "weights file (also asset:NAME), folder of them, workdir or checkpoint folder"
    parser.add_argument("path", help=help_path)
    print(describe(resolve(parser.parse_args(argv).path), mixes))
