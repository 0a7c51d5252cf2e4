"""Rate limits of applications and their end users."""
