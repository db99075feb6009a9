"""Design electron-ptychography experiments and study reconstructions by simulation."""

__version__ = "0.1.0"
