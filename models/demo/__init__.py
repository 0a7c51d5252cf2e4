"""The demonstration model: its grammar, corpus, tokenizer, training, evaluation and weights."""
