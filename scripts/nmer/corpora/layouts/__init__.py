"""One reader file per on-disk layout of a corpus; see :mod:`nmer.corpora.registry` for the contract."""
