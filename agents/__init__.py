"""Agents: what a person can talk to. Each is a folder; `agents.catalogue` names them all.

They depend on `models.chat`, `memory` and `storage`, never on what serves them; docs/agents.md walks through writing
one.
"""
