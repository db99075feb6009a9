"""Rules of all studies, made from the steps of their kinds (ptydesign/study/kind.py).

Every folder in studies/ with a study.yaml is a target: `snakemake studies/lowdose`, with `--config scale=smoke`, preview
(the default) or paper. The graph of jobs is static: it follows from the study files, and only the contents of files
depend on scores. Settings reach a job through its params, by value, so that it runs again when one that it depends on
changes. (Not through resolved.yaml: a job below one that runs again always runs again, or, with `ancient`, isn't looked
at.)
"""

import os
import sys
from pathlib import Path

from ptydesign import kinds
from ptydesign.errors import InputError
from ptydesign.study.file import RESOLVED
from ptydesign.study.rules import rules, step_command
from ptydesign.study.watched import Watched

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


WATCHED = Watched(RUNS, sys.argv[1:], STUDIES, int(os.environ["PTYDESIGN_CORES"]))


onstart:
    WATCHED.begin()


onsuccess:
    WATCHED.end(True)


onerror:
    WATCHED.end(False)


wildcard_constraints:
    run="|".join(RUNS) or "none",


localrules:
    resolve,
    figures,
    report,


rule all:
    default_target: True
    input:
        [f"{RESULTS}/{run}/report.html" for run in RUNS],


# A folder studies/<name> exists; a rule of that name is what runs, with and without a shell's trailing slash.
for _name, _run in RUNS.items():
    for _slash in ("", "/"):

        rule:
            name:
                f"studies/{_run.resolved.study.study}{_slash}"
            input:
                f"{RESULTS}/{_name}/report.html",


rule resolve:
    output:
        f"{RESULTS}/{{run}}/{RESOLVED}",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("resolve"),
        command=lambda wildcards: step_command(
            RUNS[wildcards.run], RUNS[wildcards.run].kind.name, "resolve", {}, STUDIES, RESULTS
        ),
    priority: 100
    shell:
        "{PYTHON:q} {params.command}"


rule figures:
    input:
        f"{RESULTS}/{{run}}/{RESOLVED}",
        lambda wildcards: [
            f"{RESULTS}/{wildcards.run}/{file}"
            for file in RUNS[wildcards.run].kind.tables(RUNS[wildcards.run].resolved)
        ],
    output:
        f"{RESULTS}/{{run}}/figures/index.json",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("figures"),
    shell:
        "{PYTHON:q} -m ptydesign figures {RESULTS}/{wildcards.run:q}"


rule report:
    input:
        f"{RESULTS}/{{run}}/{RESOLVED}",
        f"{RESULTS}/{{run}}/figures/index.json",
    output:
        f"{RESULTS}/{{run}}/report.html",
    params:
        settings=lambda wildcards: RUNS[wildcards.run].settings("report"),
    shell:
        "{PYTHON:q} -m ptydesign report {RESULTS}/{wildcards.run:q}"


for _rule in rules(RUNS, STUDIES, RESULTS):

    rule:
        name:
            _rule.name
        input:
            _rule.inputs,
        output:
            _rule.outputs,
        wildcard_constraints:
            **_rule.wildcards,
        params:
            settings=_rule.settings,
            command=_rule.command,
        log:
            _rule.beside("log"),
        benchmark:
            _rule.beside("tsv"),
        priority: _rule.step.priority
        resources:
            mem_mb=_rule.memory,
        shell:
            "{PYTHON:q} {params.command} 2> >(tee {log:q} >&2)"
