"""What `vldm convert export` says of a network that no public class can express: what works."""

import numpy as np
import pytest

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.cli import main as entry
from vldm_jax.core import paths
from vldm_jax.models import table

IMAGE, TEMPORAL = "asset:driving/image.safetensors", "asset:driving/temporal.safetensors"


@pytest.fixture
def refused(capsys, tmp_path):
    """Run an export that must fail with one line, say that and no more; return that line."""

    def run(*argv):
        out = tmp_path / "out"
        assert entry.main(["convert", "export", *map(str, argv), "--out", str(out)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("vldm: error: ") and err.count("\n") == 1 and not out.exists()
        return err

    return run


def says(err, *parts):
    for part in parts:
        assert part in err, err


def exported(tmp_path, *argv):
    assert entry.main(["convert", "export", *map(str, argv), "--out", str(tmp_path / "ok")]) == 0


@pytest.mark.slow
def test_a_backbone_is_no_way_out_for_layers_whose_network_has_no_class(refused, tmp_path):
    err = refused(TEMPORAL)
    says(err, "cannot express mix = 'per_frame'", "--to weights", "--to program --onto")
    exported(tmp_path, TEMPORAL, "--to", "weights")


def test_a_backbone_is_a_way_out_for_layers_whose_network_has_a_class(refused, tmp_path):
    err = refused(small_layers(tmp_path))
    says(err, "have no class in diffusers", "--to weights", "or with --onto UNET")
    assert "cannot express" not in err


def small_layers(tmp_path):
    """Write temporal layers whose video U-Net diffusers has a class for."""
    fields = {
        "channels": (32, 32), "attention": (True, False), "layers_per_level": 1, "heads": 2,
        "context_dim": 8, "out_channels": 4, "temporal": {"mix": "scalar"},
    }  # fmt: skip
    module = table.module_of("video_unet", fields, np.float32)
    shapes = paths.flatten(table.abstract_params(module, *module.smallest_inputs(4)))
    layers = {k: np.zeros(v.shape, np.float32) for k, v in shapes.items() if "temporal" in k}
    meta = {"kind": "temporal", "config": table.fields_of(module)}
    save_weights(tmp_path / "layers.safetensors", paths.unflatten(layers), meta)
    return tmp_path / "layers.safetensors"


def test_a_refused_network_is_told_what_works(refused, tmp_path):
    err = refused(TEMPORAL, "--onto", IMAGE)
    says(err, "cannot express mix = 'per_frame'", "--to weights", "--to program")
    err = refused(IMAGE)
    says(err, "cannot express label_tokens", "--to weights", "--to program")
    exported(tmp_path, IMAGE, "--to", "weights")
