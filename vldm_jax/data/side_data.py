"""What FFmpeg attaches to a frame beside its pixels."""

import av
from av.sidedata.sidedata import Type


def side_data(frame: av.VideoFrame, kind: Type) -> bytes | None:
    """Return what is attached to a frame under this name, None for nothing.

    Raises:
        LookupError: if PyAV cannot tell: it has no name for something else that is attached.
    """
    try:
        data = frame.side_data.get(kind)
    except ValueError as error:
        raise LookupError(f"{error}") from error
    return None if data is None else bytes(data)
