"""Floor 1: videos in, NumPy arrays out, and back to files.

    read       decode frames of one file at given times    shots      where a file cuts
    windows    clips inside shots, at an fps               labels     labels.json
    folder     a folder -> usable videos and a report      transforms frame size
    source     windows -> examples                         cache      decoded frames, each once
    pipeline   examples -> batches, a saved position       inspect    what the model sees, as files
    records    a folder -> ArrayRecord, once               record_source  and back
    write      mp4, GIF, contact sheets                    truncation where a file was cut off
    relabel    the labels that a model takes               record_set what a stored set consists of
    workers    waiting for a batch, and why none comes     record_files its files, checked

An example is a dict: `video` uint8 (t h w 3) or `image` uint8 (h w 3), `labels` float32 (k) with
NaN for unknown, `fps` float32, `key` int32, the position in its source. Nothing here imports
jax.numpy or Flax.
"""
