"""What notebooks show: HTML of data, plans and results; widgets, the page's own views; xarray and HyperSpy."""
