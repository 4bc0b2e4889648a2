"""Floor 2: what outlives the process: resumable checkpoints and self-describing weights files."""
