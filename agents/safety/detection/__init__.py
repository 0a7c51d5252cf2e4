"""Finding danger in what a person writes: rules, a classifier, a guard model."""
