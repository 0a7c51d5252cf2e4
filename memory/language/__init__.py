"""Words and languages: which language a text is in, its words as Unicode has them, and the terms that search uses."""
