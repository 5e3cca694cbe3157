"""Noise: how much (schedule, calibration), of which kind (kinds), and its addition to features (corruption)."""
