"""Derive the jobs of an experiment, their files and their settings from the configuration, without torch."""
