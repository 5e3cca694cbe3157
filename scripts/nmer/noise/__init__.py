"""Noise: how much (schedule, calibration), of which kind (kinds), and how it is added (corruption, features)."""
