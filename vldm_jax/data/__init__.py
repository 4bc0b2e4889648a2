"""Floor 1: videos in, NumPy arrays out, and back to files.

    read      decode frames of one file at given times     transforms  frame size
    shots     where a file cuts                            windows     clips inside shots, at an fps
    folder    a folder -> usable windows and a report      source      windows -> examples
    pipeline  examples -> batches, a saved position        records     a folder -> ArrayRecord, once
    write     mp4, GIF, contact sheets                     inspect     what the model sees, as files

An example is a dict: `video` uint8 (t h w 3) or `image` uint8 (h w 3), `labels` float32 (k) with
NaN for unknown, `fps` float32, `key` int64, the position in its source. Nothing here imports
jax.numpy or Flax.
"""
