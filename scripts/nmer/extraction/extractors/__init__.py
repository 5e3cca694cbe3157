"""Extractors that are shipped, one file each, named as they are."""
