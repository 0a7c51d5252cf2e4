"""The agent that hands a conversation to whichever other agent fits what was said."""
