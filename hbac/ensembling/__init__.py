"""Prediction tables in, one table and an ensemble file out; every score nested by fold."""
