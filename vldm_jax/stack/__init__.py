"""The generation stack: models of this project after each other, from labels to a long video.

    first frame -> key frames -> frames between, twice -> pixels -> larger ones -> mp4

plan.py        the parts, and how many frames each makes
fits.py        whether each part fits the one before it
request.py     what a video is to be: labels, given frames, length
reel.py        latents, or frames, on their way from part to part, on the device and on disk
keyframes.py   the first frame, and windows that go on from each other
between.py     frames between frames
pixels.py      latents -> frames
enlarge.py     frames -> larger frames
film.py        frames -> one mp4, a segment at a time
run.py         one part after the other; a stopped run goes on where it was
"""
