"""Ranking of what agents recommend, songs and videos alike: what a person likes, scores, diversity, exploration."""
