"""The list of agents. A new agent is a folder and a line here.

Nothing of the agents is imported here: every command asks which model ids exist, and few of them need an agent.
`agents.registry.make_agents` makes them.
"""

from collections.abc import Mapping

PREFIX = "bondhu/"  # of an agent's model id
ROUTER = "auto"

AGENTS: Mapping[str, str] = {  # by id: the function that makes the agent of `agents.registry.Parts`
    "chat": "agents.chat.agent:make_agent",
    "games": "agents.games.agent:make_agent",
    "music": "agents.music.agent:make_agent",
    "video": "agents.video.agent:make_agent",
    "personality": "agents.personality.agent:make_agent",
}


def model_ids() -> list[str]:
    """The model ids of all agents, the router last."""
    return [f"{PREFIX}{id_}" for id_ in (*AGENTS, ROUTER)]
