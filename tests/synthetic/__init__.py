"""Tests of hbac.synthetic."""
