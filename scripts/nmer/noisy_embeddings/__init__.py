"""Noisy embeddings: a dataset's cache, noise for a user's own features, noise drawn anew."""
