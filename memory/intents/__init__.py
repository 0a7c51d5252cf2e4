"""What people say to their friend about remembering, and doing it."""
