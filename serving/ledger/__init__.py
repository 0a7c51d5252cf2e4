"""What every request used and cost, whatever dies meanwhile."""
