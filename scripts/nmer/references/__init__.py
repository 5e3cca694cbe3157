"""Reference rows: simple predictors without randomness, one file each, scored beside the systems."""
