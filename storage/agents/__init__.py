"""What agents keep of a person in SQL."""
