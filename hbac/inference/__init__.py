"""Many networks over many windows, resumable; `hbac.load`."""
