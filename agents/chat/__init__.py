"""The chat agent (the friend): a persona from configuration, the person's memory, their clock."""
