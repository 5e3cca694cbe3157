"""What systems share: encoders and towers, cascades, translation, recurrent kernels, stacking of repeats."""
