"""How people ask their friend to remember and to forget: one file for each language (`memory.intents.language`)."""
