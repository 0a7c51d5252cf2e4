"""A provider with one model, in the process, that repeats the message."""
