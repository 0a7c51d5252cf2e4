"""Commands that change what the cluster serves, and tell it."""
