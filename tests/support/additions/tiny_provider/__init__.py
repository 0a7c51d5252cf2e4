"""A provider whose one model is in the process and repeats what it is told."""
