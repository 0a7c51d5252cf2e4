"""Every alert as a real fault fires it."""
