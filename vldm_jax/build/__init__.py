"""Floor 4: from a ConfigDict to objects; below this floor nothing knows one.

A table a family maps a config's `kind` to a constructor; the other keys of the section are its
arguments, so a key that a constructor does not take is an error there. A new objective, solver,
schedule or data source is one file and one line in its table.

    check.py      what must fit together, before any device is touched
    origin.py     what a weights file was made for, against what a config means
    data.py       config.data -> source, loader
    diffusion.py  config.diffusion, config.sampling -> schedule, solver, grid
    networks.py   config.model and weights files -> modules and parameters
    stages.py     config.objective -> what a stage trains and what it leaves behind
    training.py   config.optim, config.train -> optimiser, step
    sampler.py    a trained stage -> one compiled function from noise to frames
"""
