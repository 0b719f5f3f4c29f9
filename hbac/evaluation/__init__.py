"""What a prediction table is worth: metric, scores, bootstrap, calibration, comparisons."""
