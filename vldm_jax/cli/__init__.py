"""Floor 5: the commands, each a short file that reads flags and calls the floors below."""
