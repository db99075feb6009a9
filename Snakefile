"""Studies, as `snakemake studies/lowdose` (`--config scale=smoke|preview|paper`; preview is the default).

Every folder in studies/ with a study.yaml is a target. Its kind decides which rules it has: ptydesign/rules/<kind>.smk;
what all kinds share is here. The graph of jobs is static: it follows from the study file, and only the contents of files
depend on scores. Settings reach a job through its params, by value, so that it runs again when one that it depends on
changes. (Not through plan.yaml: a job below one that runs again always runs again, or, with `ancient`, isn't looked at.)
docs/architecture.md has the flow.
"""

import os
import sys
from pathlib import Path

from ptydesign import kinds
from ptydesign.errors import InputError

# The progress line says what is done; these two lines for every few jobs would drown it.
logger.addFilter(lambda record: not str(record.msg).startswith(("Select jobs to execute", "Execute ")))

PYTHON = sys.executable
STUDIES, RESULTS = Path("studies"), Path("results")
os.environ["PTYDESIGN_CORES"] = str(workflow.cores or os.cpu_count())

try:
    RUNS = kinds.load_studies(STUDIES, config, sys.argv[1:], RESULTS, int(os.environ["PTYDESIGN_CORES"]))
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def runs_of(kind):
    """{results folder: run} of the studies of a kind."""
    return {name: run for name, run in RUNS.items() if run.kind == kind}


def names_of(kind):
    """Pattern of the results folders of a kind: the constraint of that kind's wildcard."""
    return "|".join(runs_of(kind)) or "none"


def of(run, files):
    """Files of a results folder."""
    return [f"results/{run}/{file}" for file in files]


def command_of(run, step, **which):
    """A step's command line up to its own options; study names need no quotes."""
    study = run.resolved.study
    expected = run.settings_hash(step, **which)
    return f"-m ptydesign {step} {STUDIES / study.study} --scale {study.scale} --root {RESULTS} --expect {expected}"


wildcard_constraints:
    run="|".join(RUNS) or "none",


localrules:
    resolve,
    figures,
    report,


rule all:
    input:
        [f"results/{run}/report.html" for run in RUNS],


# A folder studies/<name> exists; a rule of that name is what runs, with and without a shell's trailing slash.
for _name, _run in RUNS.items():
    for _slash in ("", "/"):

        rule:
            name:
                f"studies/{_run.resolved.study.study}{_slash}"
            input:
                f"results/{_name}/report.html",


rule resolve:
    output:
        "results/{run}/plan.yaml",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("resolve"),
        command=lambda wildcards: command_of(RUNS[wildcards.run], "resolve"),
    priority: 100
    shell:
        "{PYTHON:q} {params.command}"


rule figures:
    input:
        "results/{run}/plan.yaml",
        lambda wildcards: of(wildcards.run, RUNS[wildcards.run].flow.table_files(RUNS[wildcards.run].resolved)),
    output:
        "results/{run}/figures/index.json",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("figures"),
    shell:
        "{PYTHON:q} -m ptydesign figures results/{wildcards.run:q}"


rule report:
    input:
        "results/{run}/plan.yaml",
        "results/{run}/figures/index.json",
    output:
        "results/{run}/report.html",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("report"),
    shell:
        "{PYTHON:q} -m ptydesign report results/{wildcards.run:q}"


for _kind in kinds.KINDS:

    include: kinds.rules_file(_kind)
