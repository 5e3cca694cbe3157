"""Figures, one file each, found by name."""
