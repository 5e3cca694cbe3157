"""Corpora: layout readers, the feature store, the validation report, demo corpora."""
