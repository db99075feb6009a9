"""Studies, as `snakemake studies/lowdose` (`--config scale=smoke|preview|paper`; preview is the default). Without a
study it says which there are.

The rules are in the package, so that `ptydesign plan` works where there is no clone; docs/architecture.md has the flow.
"""

from ptydesign import kinds


include: str(kinds.RULES)
workflow.default_target = "studies"  # which an included file can't set
