"""Background jobs in SQL: which kinds there are, the queue that workers take from, what people see of it."""
