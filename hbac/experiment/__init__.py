"""One training from settings to a run's folder; the merge at a sweep's end."""
