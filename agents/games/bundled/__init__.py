"""The games that come with Bondhu: a file each, and the words and things that they play with."""
