"""The router: the agent that passes each message to another agent."""
