"""The friend: a persona from configuration, the person's past, their clock."""
