"""What people said and what is remembered about them: stored in SQL, recalled by several rankers."""
