"""Floor 3: what is learned, how a step learns it, and the loop around the step."""
