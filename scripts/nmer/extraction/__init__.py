"""From media to features: extractors, sources of utterances, decoding, the jobs of extraction."""
