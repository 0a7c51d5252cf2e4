"""Games: code is the referee; a language model only makes conversation."""
