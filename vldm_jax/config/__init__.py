"""Floor 4: sections of a ConfigDict into objects; below this floor nothing knows one.

A table a family maps a section's `kind` to a constructor; the other keys of the section are its
arguments, so a key that a constructor does not take is an error there. A new solver, schedule, grid
or data source is one file and one row.

    table.py      the look-up
    ranges.py     what every number may be, and the sections that a config has
    data.py       config.data -> source, loader
    diffusion.py  config.diffusion, config.sampling -> schedule, solver, grid
    training.py   config.optim, config.train -> optimiser, step

What a config means as a whole is said by its stage (`vldm_jax.stages`).
"""
