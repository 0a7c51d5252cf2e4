"""Background jobs in SQL: the kinds, the queue for workers, the view for people."""
