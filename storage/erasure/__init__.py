"""What was forgotten, as a list that names nobody, and forgetting it again in a restored database."""
