"""Recordings as clinics have them: EDF, EDF+, BDF, and whatever MNE reads, to electrodes in microvolt at 200 Hz.

`opened.open_recording` is the way in, `opened.Recording.read` gives any stretch of it.
"""
