"""Tests of hbac.recordings.synthetic."""
