"""How each kind of job is done; what kinds there are is declared in `storage.jobs.kinds`."""
