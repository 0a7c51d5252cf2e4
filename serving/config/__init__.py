"""The configuration: its schema, where its values come from, and what is wrong with them."""
