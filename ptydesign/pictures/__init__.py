"""Pictures of data and reconstructions, and export of images."""
