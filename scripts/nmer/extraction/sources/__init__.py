"""Built-in sources of utterances, one file each, named after the source."""
