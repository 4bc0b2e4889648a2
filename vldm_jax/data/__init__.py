"""Floor 1: videos in, NumPy arrays out, and back to files.

    read       decode frames of one file at given times    shots      where a file cuts
    opening    a file, and which stream is the picture     truncation where a file was cut off
    timestamps when a frame is shown, and its name         seeking    reaching a frame
    screen     a frame as a player shows it, by way of     faults     why a video is of no use
               `fields`, `colour` and `orientation`        windows    clips inside shots, at an fps
    listing    the files of a folder                       index      what a scan found, kept
    folder     a folder -> usable videos and a report      labels     labels.json
    source     windows -> examples                         transforms frame size
    pipeline   examples -> batches, a saved position       cache      decoded frames, each once
    records    a folder -> ArrayRecord, once               inspect    what the model sees, as files
    record_source  and back                                record_set what a stored set consists of
    write      mp4, GIF, contact sheets                    relabel    the labels that a model takes
    workers    waiting for a batch, and why none comes     record_files its files, checked

An example is a dict: `video` uint8 (t h w 3) or `image` uint8 (h w 3), `labels` float32 (k) with
NaN for unknown, `fps` float32, `key` int32, the position in its source. Nothing here imports
jax.numpy or Flax.
"""
