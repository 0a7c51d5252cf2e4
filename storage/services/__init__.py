"""Answers of outside services, and links of people to them."""
