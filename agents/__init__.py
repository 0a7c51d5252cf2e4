"""Agents: the counterparts that a person can talk to. Each is a folder; `agents.catalogue` lists them.

They depend on `models.chat`, `memory` and `storage`, never on `serving`. docs/agents.md explains how to write one.
"""
