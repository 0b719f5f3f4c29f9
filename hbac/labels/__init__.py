"""Votes to targets: shares, vote populations, patient-grouped folds, the leak audit."""
