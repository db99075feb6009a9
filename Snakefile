"""Studies, as `snakemake studies/lowdose` (`--config scale=smoke|preview|paper`; preview is the default).

Every folder in studies/ with a study.yaml is a target. Rounds and chunks are known from the study file, so the graph of
jobs is static; only the contents of files depend on scores. Settings reach a job through its params, by value, so that
it runs again when one that it depends on changes. (Not through plan.yaml: a job below one that runs again always runs
again, or, with `ancient`, isn't looked at.) docs/architecture.md has the flow.
"""

import os
import sys
from pathlib import Path

from ptydesign.errors import InputError
from ptydesign.study import layout, workflow as flow

# The progress line says what is done; these two lines for every few jobs would drown it.
logger.addFilter(lambda record: not str(record.msg).startswith(("Select jobs to execute", "Execute ")))

PYTHON = sys.executable
STUDIES, RESULTS = Path("studies"), Path("results")
os.environ["PTYDESIGN_CORES"] = str(workflow.cores or os.cpu_count())

try:
    RUNS = flow.load_studies(STUDIES, config, sys.argv[1:], RESULTS, int(os.environ["PTYDESIGN_CORES"]))
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def of(run, files):
    return [f"results/{run}/{file}" for file in files]


def searches(run):
    return layout.searches(RUNS[run].study)


def where(wildcards):
    """(study, search, round) that a job belongs to."""
    return RUNS[wildcards.run], wildcards.get("search"), int(wildcards.get("round", 0))


def settings(step):
    return lambda wildcards: flow.settings(where(wildcards)[0], step, *where(wildcards)[1:])


def command_of(resolved, step, search=None, round_=0):
    """A step's command line up to its own options; study names need no quotes."""
    expected = flow.settings_hash(resolved, step, search, round_)
    study = resolved.study
    return f"-m ptydesign {step} {STUDIES / study.study} --scale {study.scale} --root {RESULTS} --expect {expected}"


def command(step):
    return lambda wildcards: command_of(where(wildcards)[0], step, *where(wildcards)[1:])


def points_of_round(wildcards):
    search = searches(wildcards.run)[wildcards.search]
    return of(wildcards.run, [search.points_file(int(wildcards.round))])


def earlier_rounds(wildcards):
    search, round_ = searches(wildcards.run)[wildcards.search], int(wildcards.round)
    files = [file for r in range(round_) for file in search.chunk_files(r)]
    return of(wildcards.run, files + ([search.points_file(round_ - 1)] if round_ else []))


def memory_mb(wildcards, attempt):
    return flow.job_memory_mb(RUNS[wildcards.run], attempt)


wildcard_constraints:
    run="|".join(RUNS) or "none",
    search="[a-z]+-[0-9.e+-]+",
    round="[0-9]+",
    chunk="[0-9]+",
    dose="[0-9.e+-]+",
    simulator="jax|abtem",


localrules:
    resolve,
    figures,
    report,


rule all:
    input:
        [f"results/{run}/report.html" for run in RUNS],


# A folder studies/<name> exists; a rule of that name is what runs, with and without a shell's trailing slash.
for _run, _resolved in RUNS.items():
    for _slash in ("", "/"):

        rule:
            name:
                f"studies/{_resolved.study.study}{_slash}"
            input:
                f"results/{_run}/report.html",


rule resolve:
    output:
        "results/{run}/plan.yaml",
    params:
        settings=settings("resolve"),
        command=command("resolve"),
    priority: 100
    shell:
        "{PYTHON:q} {params.command}"


rule potential:
    output:
        "results/{run}/potential.json",
    params:
        settings=settings("potential"),
        command=command("potential"),
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} {params.command}"


rule propose:
    input:
        earlier_rounds,
    output:
        "results/{run}/search/{search}/round-{round}/points.json",
    params:
        settings=settings("propose"),
        command=command("propose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--search {wildcards.search} --round {wildcards.round}"


rule evaluate:
    input:
        "results/{run}/potential.json",
        points_of_round,
    output:
        "results/{run}/search/{search}/round-{round}/chunk-{chunk}.json",
    wildcard_constraints:
        search="bo-[0-9.e+-]+",
    params:
        settings=settings("evaluate"),
        command=command("evaluate"),
    priority: 10  # rounds follow one another; what has no order fills the gaps
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--search {wildcards.search} --round {wildcards.round} --chunk {wildcards.chunk}"


use rule evaluate as evaluate_unordered with:
    wildcard_constraints:
        search="(random|map)-[0-9.e+-]+",
    priority: 0


rule choose:
    input:
        lambda wildcards: of(wildcards.run, searches(wildcards.run)[wildcards.search].all_files()),
    output:
        "results/{run}/search/{search}/best.json",
    params:
        settings=settings("choose"),
        command=command("choose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.search}"


rule validate:
    input:
        "results/{run}/potential.json",
        "results/{run}/search/bo-{dose}/best.json",
    output:
        "results/{run}/validation/{dose}-{simulator}.json",
    params:
        settings=settings("validate"),
        command=command("validate"),
    priority: 5
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--dose {wildcards.dose} --simulator {wildcards.simulator}"


for _run, _resolved in RUNS.items():

    # tables differ with the study (no map, no random search), so each study has a rule of its own
    rule:
        name:
            f"collect_{_run}"
        input:
            f"results/{_run}/potential.json",
            of(_run, flow.search_files(_resolved, (layout.BO, layout.RANDOM, layout.MAP))),
            of(_run, flow.winner_files(_resolved)),
            of(_run, layout.validation_files(_resolved.study)),
        output:
            of(_run, layout.table_files(_resolved.study)),
        params:
            settings=flow.settings(_resolved, "collect"),
            command=command_of(_resolved, "collect"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"


rule figures:
    input:
        "results/{run}/plan.yaml",
        lambda wildcards: of(wildcards.run, layout.table_files(RUNS[wildcards.run].study)),
    output:
        "results/{run}/figures/index.json",
    params:
        settings=settings("figures"),
    shell:
        "{PYTHON:q} -m ptydesign figures results/{wildcards.run:q}"


rule report:
    input:
        "results/{run}/plan.yaml",
        "results/{run}/figures/index.json",
    output:
        "results/{run}/report.html",
    params:
        settings=settings("report"),
    shell:
        "{PYTHON:q} -m ptydesign report results/{wildcards.run:q}"
