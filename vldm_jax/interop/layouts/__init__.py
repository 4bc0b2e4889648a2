"""Layouts of public checkpoints, as tables of names: theirs to ours, and back."""
