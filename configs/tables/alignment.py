"""How temporal layers are best trained: Table 1 (right) of the paper, for two CPU cores.

    python launch/table.py alignment

The paper's FVD: fine-tuning 534, pixel space 640, attention only 704, end-to-end 1155, at a smaller
size than its main models, single runs whose batches and steps differ. Here every arm has the same
time: about 20 minutes of two idle cores, of which the arms with an image model spend half on that
model. Step counts were set by that; a run is counted in steps, so a busy machine changes nothing.

Clips of 8 frames at 7.5 fps and 64x128 of the driving world, trained and judged on different seeds
of the world; latent arms stand on the shipped autoencoder, which was trained on others again. The
pixel arm's U-Net is as wide as the time allows, and sampling it takes most of its evaluation.
"""

from ml_collections import ConfigDict

PIXELS = (
    "model.autoencoder=pixels",
    "model.network.out_channels=3",
    "model.network.channels=(16, 32, 64, 96)",
    "model.network.attention=(False, False, False, True)",
)
EVERYTHING = (
    "model.backbone=fresh",
    "train.rules=(('temporal.*mix', 'mix'), ('norm|bias', 'plain'), ('', 'temporal'))",
)
IMAGE, VIDEO = "configs/driving/image.py:tiny", "configs/driving/video.py:tiny"


def get_table() -> ConfigDict:
    table = ConfigDict()
    table.says = "Align your Latents, Table 1 (right), at 64x128 for two CPU cores"

    # Folders of the driving world, by name: flags of `vldm data build driving`.
    table.worlds = ConfigDict(sort_keys=False)
    table.worlds.train = ("--clips=256", "--seed=1000000", "--size=64x128", "--frames=64")
    table.worlds.test = ("--clips=160", "--seed=2000000", "--size=64x128", "--frames=64")

    # Trainings, each once a seed: a config and overrides, in which {name} is the folder of a world
    # or of a training above.
    table.common = (
        "data.path={train}", "train.sample_every=1000000", "sampling.num_videos=2",
        "checkpoint.every=100",
    )  # fmt: skip
    table.trainings = ConfigDict(sort_keys=False)
    table.trainings.image = (IMAGE, "train.total_steps=1000", "optim.warmup_steps=50")
    table.trainings.fine_tuned = (VIDEO, "train.total_steps=540", "model.backbone={image}")
    table.trainings.attention_only = (
        VIDEO, "train.total_steps=690", "model.backbone={image}",
        "model.temporal.convolutions=False",
    )  # fmt: skip
    table.trainings.end_to_end = (VIDEO, "train.total_steps=880", *EVERYTHING)
    table.trainings.pixel_image = (
        IMAGE, "train.total_steps=630", "optim.warmup_steps=50", "train.batch_size=8", *PIXELS,
    )  # fmt: skip
    table.trainings.pixel = (
        VIDEO, "train.total_steps=250", "train.batch_size=2", "model.backbone={pixel_image}",
        *PIXELS,
    )  # fmt: skip

    # Rows: the training that is judged, and the paper's FVD.
    table.arms = ConfigDict(sort_keys=False)
    table.arms.fine_tuned = 534.17
    table.arms.end_to_end = 1155.10
    table.arms.attention_only = 704.41
    table.arms.pixel = 639.56
    table.first = "fine_tuned"  # which the paper has before all others

    # Flags of `vldm evaluate`.
    table.evaluate = (
        "--clips=64", "--figures=fvd,kvd,frechet_lite0,flicker,motion",
        "--config.data.path={test}",
    )  # fmt: skip
    table.figure = "fvd"  # which orders the rows
    return table
