"""Built-in extractors, one file each, named after the extractor."""
