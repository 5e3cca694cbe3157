"""Noise: its level (schedule, calibration), its kind (kinds) and its application (corruption, features)."""
