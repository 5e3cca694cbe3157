"""Noisy embeddings: those of a whole dataset, of a user's features, and noise drawn anew in training."""
