"""Simulate a dosed 4D-STEM dataset: specimen, potential, scan, detector, and two simulators."""
