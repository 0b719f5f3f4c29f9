"""Tests of hbac.recordings."""
