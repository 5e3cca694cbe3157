"""From the configuration to the jobs of an experiment, their files and their settings; no torch."""
