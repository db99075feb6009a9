"""What studies of thick samples share: a supercell with defects, data chunked on disk, the estimate, the page."""
