"""Measured data: files of instruments and their calibration become a Dataset."""
