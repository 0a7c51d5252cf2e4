"""An anonymous log of erasures, and repeating them in a restored database."""
