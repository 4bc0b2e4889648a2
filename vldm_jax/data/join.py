"""Videos put one after the other without being encoded again."""

import os
from collections.abc import Sequence

import av

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path

Path_ = str | os.PathLike[str]


def join_videos(parts: Sequence[Path_], path: Path_) -> None:
    """Write the videos of `write_video` as one, in their order; whole or not at all.

    Args:
        parts: at least one, all of one size, rate and encoding.
        path: of the mp4.

    Raises:
        InputError: if there is none, or one is of another size or rate than the first.
    """
    if not parts:
        raise InputError(f"{path}: there is no video to write it of")
    with (
        atomic_path(path) as temporary,
        av.open(str(temporary), "w", options={"movflags": "+faststart"}) as out,
    ):
        stream, shape, shift = None, None, 0
        for part in parts:
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                mine = (source.width, source.height, source.average_rate, source.time_base)
                if stream is None:
                    stream, shape = out.add_stream_from_template(source), mine
                    stream.time_base = source.time_base
                if mine != shape:
                    raise InputError(f"{part} is {mine}, other than {parts[0]}, {shape}")
                end = shift
                for packet in container.demux(source):
                    if packet.dts is None:  # the end of the stream
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, packet.pts + packet.duration)
                    packet.stream = stream
                    out.mux(packet)
                shift = end
