"""Floor 0: what every other package may use and which uses none of them. One topic a file."""
