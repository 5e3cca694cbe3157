"""Reference rows: simple classifiers without randomness, one file each, scored beside the systems."""
