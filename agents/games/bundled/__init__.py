"""The bundled games, one file each, and the words and things that they use."""
