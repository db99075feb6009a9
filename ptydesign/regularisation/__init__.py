"""Studies of regularisation: what a plan's settings and engines do to the reconstruction of a thick sample."""
