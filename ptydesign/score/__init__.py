"""Scores of a reconstruction against the truth: `compare.compare`. The only layer that opens a Truth."""
