"""SQL, the source of truth: schema, connections, migrations and queries."""
