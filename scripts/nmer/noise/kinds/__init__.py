"""Noise kinds, one file each: a function ``(shape, generator, **options) -> eps``."""
