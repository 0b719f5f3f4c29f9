"""Runs and ensembles in the forms that others take: one file that predicts, the Hub's layout, Kaggle's."""

COMMAND = "hbac.export"  # who its files are said to be of
