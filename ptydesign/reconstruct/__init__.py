"""Reconstruction: one forward model, one loop, engines as pure functions."""
