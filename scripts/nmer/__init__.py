"""Noise-robust multimodal emotion recognition: the library behind the NMER workflow."""

__version__ = "0.1.0"
