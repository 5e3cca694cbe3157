"""Experiment: from the configuration to runs, their training and their evaluation."""
