"""What everything may use: errors, choices among names, whole files, progress, configs to objects."""
