"""One file an objective: what a training step minimises, and what it needs of a batch."""
