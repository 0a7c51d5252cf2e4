"""What is said to who is in danger, where no model may or can say it."""
