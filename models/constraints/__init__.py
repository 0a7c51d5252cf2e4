"""What engines make of constraints on their answers."""
