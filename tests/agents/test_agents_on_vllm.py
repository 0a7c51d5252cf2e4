"""Agents with the real default model behind vLLM's own server: whatever it says, games hold and every run has an answer."""

from pathlib import Path

import pytest

from agents.chat.persona import read_personas

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
PERSONAS = read_personas(ROOT / "configs" / "personas")
