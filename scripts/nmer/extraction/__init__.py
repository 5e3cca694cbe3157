"""Extraction of features from media: extractors, sources of utterances, decoding, jobs."""
