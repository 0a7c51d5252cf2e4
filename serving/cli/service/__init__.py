"""Starting, stopping and watching the service."""
