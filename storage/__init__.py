"""SQL, the truth: schema, connections, migrations and what may be asked of them."""
