"""Samples of a stage and clips of its data: what figures are made of, whoever asks for them.

    real = real_clips(stage, clips=48, seed=0)      windows that do not overlap, drawn by the seed
    asked = real.asked(stage)                       what the first half of them are: their labels
    samples = write_samples(stage, stage.sampler(), params, asked, folder)
    sets = real.sets(samples, made_with)

Samples of a stage that reconstructs are the real clips themselves, gone through its networks, and
those that are given both ends of a clip are to be that clip: then each has its clip beside it, for
figures of pairs, which are taken of the frames that were not given (`Stage.compared`).

Samples are asked for what the real clips are, so that the two sets differ by the model alone. They
are written as they are made, a file a batch: a second start in the same folder goes on.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import vldm_jax
from vldm_jax.config.data import build_source
from vldm_jax.core.arrays import save_array
from vldm_jax.core.files import atomic_path, write_json
from vldm_jax.core.progress import Progress
from vldm_jax.data.relabel import RelabelledSource
from vldm_jax.evals.checks import check_length, labels_of
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.companions import BOXES, REFERENCE
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.halves import FLOOR, real_halves
from vldm_jax.evals.labels import Labels
from vldm_jax.evals.sets import Compared, Sets
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.maker import FrameMaker
from vldm_jax.stages import asking
from vldm_jax.stages.base import Stage
from vldm_jax.stages.begun import METADATA, begin
from vldm_jax.typing import Conditioning, Int, PyTree

LABELS = "labels"  # key of a condition, and of an example
RECONSTRUCTED = "the real clips, which samples reconstruct"  # as recipes say it


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RealClips:
    """Clips of a stage's data in an order drawn by a seed.

    Attributes:
        source: their examples, windows that do not overlap.
        numbers: of those that samples are compared with, in their order.
        real: these clips.
        others: as many others, for the floor.
        recipe: how they were made, as JSON values.
        notes: how many there are, and what else a person should know, a line each.
        compared: frames of a sample that are held against those of its clip; () if samples have
            none.
    """

    source: RelabelledSource
    numbers: Int[np.ndarray, " n"]
    real: ClipSet
    others: ClipSet
    recipe: Mapping[str, Any]
    notes: tuple[str, ...]
    compared: tuple[int, ...]

    def asked(self, stage: Stage) -> tuple[Conditioning, int]:
        """Return what samples of a stage are asked for, and how many there are to be.

        It is what the real clips are, by the names of the stage's labels.
        """
        source = dataclasses.replace(self.source, label_names=stage.config.data.labels)
        examples = [source[int(number)] for number in self.numbers]
        return stage.asked_of(examples, source.unknown), len(examples)

    def check_labels(self, figures: Sequence[str], stage: Stage) -> None:
        """Raise for a figure of labels that samples are not asked for; to be asked before them.

        Raises:
            InputError: naming the figure and the label.
        """
        samples = dataclasses.replace(self.real, labels=_labels(stage, self.asked(stage)[0]))
        labels_of(figures, {"samples": samples, "real": self.real, "others": self.others})

    def sets(self, samples: ClipSet, made_with: Mapping[str, Any]) -> Sets:
        """Return the sets of an evaluation of samples, of which `made_with` says what made them."""
        pairs = {}
        if self.compared:
            pairs[REFERENCE] = Compared(samples=_pairs(samples, self.real, self.compared))
        if BOXES in self.real.beside and BOXES in samples.beside:
            pairs[BOXES] = Compared(samples=samples, real=self.real, others=self.others)
        return Sets(
            samples=samples, real=self.real, others=self.others, recipe=self.recipe,
            made_with=made_with, notes=self.notes, beside=pairs,
        )  # fmt: skip


def has(stage: Stage) -> tuple[str, ...]:
    """Return what the samples of a stage have beside them, as figures name it."""
    boxes = BOXES in stage.brings and any(c.key == BOXES for c in stage.conditions)
    return (REFERENCE,) * bool(stage.compared) + (BOXES,) * boxes


def check_lengths(names: Sequence[str], stage: Stage) -> None:
    """Raise for a figure that takes longer clips than samples of a stage are; asked before them.

    Raises:
        InputError: naming it.
    """
    pairs = [name for name in names if FIGURES[name].beside == REFERENCE]
    check_length([name for name in names if name not in pairs], stage.config.data.num_frames)
    check_length(pairs, len(stage.compared))


def _pairs(samples: ClipSet, real: ClipSet, frames: tuple[int, ...]) -> ClipSet:
    """Return samples with their clips beside them, both of these frames alone."""
    if len(frames) == samples.shape[0]:
        return samples.with_beside(REFERENCE, real.read)
    return samples.of_frames(frames).with_beside(REFERENCE, real.of_frames(frames).read)


def real_clips(
    stage: Stage, *, clips: int | None, seed: int, asked: str = "--clips", say: bool = True
) -> RealClips:
    """Return clips of a stage's data to compare its samples with.

    Args:
        stage: whose data it is.
        clips: in each of the two halves; None for as many as there are.
        seed: of their order.
        asked: by which flag so many clips are asked for, for messages.
        say: whether to print what the data keeps and skips.

    Raises:
        InputError: if nothing is usable, or too little.
    """
    data = stage.config.data.copy_and_resolve_references()
    with data.unlocked():
        data.stride = float(data.num_frames)
        data.more_fps = ()  # samples have one rate
    source = build_source(data, say=say)
    drawn = np.random.default_rng(seed).permutation(len(source))
    halves = real_halves(_clips(source, data, boxes=BOXES in has(stage)).picked(drawn))
    count, line = halves.of_each(None, clips, asked)
    real, others = halves.sets(count)
    assert others is not None
    return RealClips(
        source=source, numbers=drawn[halves.one[:count]], real=real, others=others,
        notes=(*halves.notes, line), compared=stage.compared,
        recipe={
            "clips": count,
            "frames": data.num_frames,
            "fps": float(data.fps),
            "size": [data.height, data.width],
            "resize": "bicubic, antialiased, centre",
            "real_windows": "all",
            "floor": FLOOR,
            "conditions": _asked_in_words(stage, source),
            "conditioning_frames": stage.conditioning_frames,
            **_compared_in_words(stage),
        },
    )  # fmt: skip


def _compared_in_words(stage: Stage) -> dict[str, list[int]]:
    """Return what recipes say of pairs, where not every frame is compared."""
    part = 0 < len(stage.compared) < stage.config.data.num_frames
    return {"compared_frames": list(stage.compared)} if part else {}


def _asked_in_words(stage: Stage, source: RelabelledSource) -> Any:
    if stage.reconstructs:
        return RECONSTRUCTED
    return asking.asked_in_words(stage.conditions, stage.config, source[0].keys())


def kept_samples(
    stage: Stage,
    params: PyTree,
    files: Mapping[str, WeightsFile],
    asked: tuple[Conditioning, int],
    folder: Path,
) -> tuple[ClipSet, dict[str, Any]]:
    """Return samples that a folder keeps, with what made them; makes those that are missing.

    Args:
        stage: whose samples.
        params: to sample with, and
        files: what they were read from, both from `stage.load`.
        asked: what samples are asked for, every array leading with their number, and that number.
        folder: new, or of the very same samples.

    Raises:
        InputError: if the folder holds anything else.
    """
    about = {
        "version": vldm_jax.__version__,
        "complete": False,
        "count": asked[1],
        **stage.describe(asked[0]),
        **asking.made_with(stage.conditions, stage.config, files),
    }
    begin(folder, about)
    samples = write_samples(stage, stage.sampler(), params, asked, folder)
    write_json(folder / METADATA, {**about, "complete": True})
    told = ("sampling", "diffusion", "weights_sha256", "seed", "text_sha256")
    return samples, {key: about[key] for key in told if key in about}


def write_samples(
    stage: Stage,
    sampler: FrameMaker,
    params: PyTree,
    asked: tuple[Conditioning, int],
    folder: Path,
    *,
    leave: bool = True,
) -> ClipSet:
    """Write the samples that a folder does not have yet; return them all.

    Args:
        stage: whose samples.
        sampler: what `stage.sampler()` made; it keeps its compiled program.
        params: to sample with.
        asked: what samples are asked for, every array leading with their number, and that number.
        folder: of files of frames, a file a batch of `config.sampling.batch_size`.
        leave: whether the bar stays on the screen.

    Raises:
        InputError: if a sample is not finite.
    """
    config, (cond, count) = stage.config, asked
    size = config.sampling.batch_size
    files = [folder / f"{first:06}.npy" for first in range(0, count, size)]
    missing = [number for number, file in enumerate(files) if not file.exists()]
    lengths = [min(size, count - first) for first in range(0, count, size)]
    there = count - sum(lengths[number] for number in missing)
    with Progress("sampling", count, "clip", done=there, leave=leave) as progress:
        if missing:
            progress.note("compiling")
            # The last batch is filled up: one program serves all.
            index = np.concatenate([n * size + np.arange(size) for n in missing]) % count
            part = {name: value[index] for name, value in cond.items()}
            key = jax.random.key(config.seed)
            batches = sampler.in_batches(params, key, index, part, size)
            for number, frames in zip(missing, batches, strict=True):
                with atomic_path(files[number]) as temporary:
                    save_array(temporary, frames[: lengths[number]])
                progress.note("")
                progress.update(lengths[number])
    return ClipSet(
        read=lambda i: np.load(files[i // size], mmap_mode="r")[i % size],
        describe=lambda i: f"sample {i}", count=count, fps=float(config.data.fps),
        shape=_shape(config.data), labels=_labels(stage, cond),
        beside={BOXES: lambda i: np.asarray(cond[BOXES][i])} if BOXES in cond else {},
    )  # fmt: skip


def _clips(source: RelabelledSource, data: ConfigDict, *, boxes: bool) -> ClipSet:
    def read(number: int) -> np.ndarray:
        example = source[number]
        return example["video"] if "video" in example else example["image"][None]

    return ClipSet(
        read=read, describe=source.describe, count=len(source), fps=float(data.fps),
        shape=_shape(data), video=lambda i: int(source.video[i]),
        labels=Labels(names=source.label_names, of=lambda i: source[i][LABELS]),
        beside={BOXES: lambda i: source[i][BOXES]} if boxes else {},
    )  # fmt: skip


def _labels(stage: Stage, cond: Conditioning) -> Labels | None:
    """Return the labels that samples are asked for; None for a network without any."""
    if LABELS not in cond:
        return None
    asked = np.asarray(cond[LABELS])
    return Labels(names=stage.config.data.labels, of=lambda i: asked[i])


def _shape(data: ConfigDict) -> tuple[int, int, int]:
    return data.num_frames, data.height, data.width
