"""Floor 1: schedules, forward process, targets, losses, guidance. Maths on arrays, no networks."""
