"""Messages that the friend leaves for a person: only if they want them, seldom, and never at night."""
