"""Routes of agents: runs, personas, proposals, jobs, inbox, services, statistics."""
