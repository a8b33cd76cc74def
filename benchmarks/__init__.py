"""Measurements against other people's published results; see README.md."""
