"""Judges of generated pairs: detectors that have not seen the scene they judge."""
