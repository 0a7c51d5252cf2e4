"""The shape of what travels between clients, the gateway and the engines."""
