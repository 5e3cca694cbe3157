"""Training, validation and evaluation of systems."""
