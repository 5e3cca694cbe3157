"""Predictions of trained systems on new features."""
