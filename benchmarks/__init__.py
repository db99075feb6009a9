"""Speed and quality of the reconstruction core, against bare Fourier transforms and against phaser."""
