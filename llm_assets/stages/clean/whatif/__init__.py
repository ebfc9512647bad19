"""Other thresholds, tried on stored measurements."""
