"""From a phrase to a measured model file; the only place that imports TensorFlow."""
