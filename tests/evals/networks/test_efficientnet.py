"""EfficientNet-lite0 against the network of a PyTorch package, on the published weights."""

import numpy as np
import pytest
from judges import efficientnet, pixels

from vldm_jax.evals.networks.efficientnet import EFFICIENTNET_WEIGHTS

torch = pytest.importorskip("torch", reason="compares with torch")
reference = pytest.importorskip("efficientnet_lite_pytorch", reason="compares with its torch code")


@torch.no_grad()
def torch_features(x):
    """Pooled features of bytes (b h w 3)."""
    model = reference.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(EFFICIENTNET_WEIGHTS.find()))
    x = torch.from_numpy((np.float32(x) - 127) / 128).permute(0, 3, 1, 2)
    return model.eval().extract_features(x).mean((2, 3)).numpy()


def test_equals_pytorch_from_bytes_on():
    ours = np.asarray(efficientnet()(np.float32(pixels() / 127.5 - 1)))
    theirs = torch_features(pixels())
    assert np.abs(ours - theirs).max() <= 1e-4 * theirs.std()
    assert (0 <= ours).all() and (ours <= 6).all()
