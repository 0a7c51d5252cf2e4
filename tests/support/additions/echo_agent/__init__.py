"""An agent that repeats the message."""
