"""What the friend leaves for somebody who is away: only for who wants it, seldom, and never at night."""
