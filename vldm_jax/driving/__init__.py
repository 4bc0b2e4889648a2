"""The driving world: clips with labels and exact boxes, made from nothing but a seed.

    world     what a clip shows: spec and road       traffic   who drives where
    vehicles  what cars look like                    scenery   road, terrain, rails, lamps
    mesh      quads, the one kind of geometry        objects   trees, buildings, signs
    render    rasterise (panda3d, CPU)               sky       colours of the hour, panorama
    shading   light, fog, glow: buffer -> picture    boxes     3D boxes -> 2D, what is visible
    clips     seed -> frames, labels, boxes          folder    clips as mp4 + labels.json
    glow      which lamps have a halo at night       builder   clips as a tensorflow-datasets set
    pool      several processes, results in order

Nothing but the command `vldm data build driving` knows this room. Only `render` needs panda3d
(extra `sim`), and only when a clip is rendered.
"""
