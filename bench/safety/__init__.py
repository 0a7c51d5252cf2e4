"""What the safety step finds, and the training of its classifier."""
