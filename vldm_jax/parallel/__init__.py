"""Floor 1: devices. The only package that names mesh axes or talks to other processes."""
