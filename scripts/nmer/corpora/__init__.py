"""Corpora: readers of their layouts, the feature store, the validation report, the demo corpora."""
