"""What the studies of thick samples share: a supercell with defects, data chunked on disk, reconstructions, the report."""
