"""A long, steady load on a whole stack: memory, throughput and errors over time."""
