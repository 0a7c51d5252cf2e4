"""What a person has said and what was learnt of it: kept in SQL, found again by several rankers at once."""
