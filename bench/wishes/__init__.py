"""How well requests about memory are understood, in five languages."""
