"""Trained systems on features that the workflow has not seen."""
