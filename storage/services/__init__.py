"""What services outside told, and what links people to them."""
