"""Readers of corpus layouts, one file each; see :mod:`nmer.corpora.registry` for the interface."""
