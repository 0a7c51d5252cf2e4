"""The ledger: usage and cost of every request, also when a process dies."""
