"""A person's five broad traits by their own account, which they can see, correct and delete."""
