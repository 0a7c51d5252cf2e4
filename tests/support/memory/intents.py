"""The clear intent in a message, for tests that do not care whether another message is unclear or says nothing."""

from memory.intents.detector import Intent, Unclear, detect


def intent_of(text: str) -> Intent | None:
    """The first clear intent, or None."""
    detected = detect(text)
    return None if isinstance(detected, Unclear) else detected
