"""Reference rows: simple deterministic predictors, one file each, scored like the systems."""
