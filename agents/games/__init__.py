"""Games with rules of their own: code is the referee, a language model only talks beside it."""
