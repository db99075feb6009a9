"""Studies: many trials, chosen by a search, driven by Snakemake, gathered into tables, figures and a report."""
