"""Planning an experiment before beam time: from sample, microscope and dose to a settings sheet."""
