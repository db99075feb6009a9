"""Studies, as `snakemake studies/lowdose` (`--config scale=smoke|preview|paper`; preview is the default).

Every folder in studies/ with a study.yaml is a target. Rounds and chunks are known from the study file, so the graph of
jobs is static; only the contents of files depend on scores. plan.yaml and potential.json are `ancient`: what a job
depends on is in its params, by value. docs/architecture.md has the flow.
"""

import os
import sys
from pathlib import Path

from ptydesign.errors import InputError
from ptydesign.study import layout, workflow as flow

PYTHON = sys.executable
STUDIES, RESULTS = Path("studies"), Path("results")
os.environ["PTYDESIGN_CORES"] = str(workflow.cores or os.cpu_count())

try:
    RUNS = flow.load_studies(STUDIES, config, sys.argv[1:], RESULTS)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def of(run, files):
    return [f"results/{run}/{file}" for file in files]


def searches(run):
    return layout.searches(RUNS[run].study)


def settings(step):
    return lambda wildcards: flow.settings(RUNS[wildcards.run], step)


def points_of_round(wildcards):
    search = searches(wildcards.run)[wildcards.search]
    return of(wildcards.run, [search.points_file(int(wildcards.round))])


def earlier_rounds(wildcards):
    search, round_ = searches(wildcards.run)[wildcards.search], int(wildcards.round)
    files = [file for r in range(round_) for file in search.chunk_files(r)]
    return of(wildcards.run, files + ([search.points_file(round_ - 1)] if round_ > 1 else []))


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
    initial,
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
        study=lambda wildcards: STUDIES / RUNS[wildcards.run].study.study,
        scale=lambda wildcards: RUNS[wildcards.run].study.scale,
    shell:
        "{PYTHON:q} -m ptydesign resolve {params.study:q} --scale {params.scale} --root results"


rule potential:
    input:
        ancient("results/{run}/plan.yaml"),
    output:
        "results/{run}/potential.json",
    params:
        settings=settings("potential"),
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} -m ptydesign potential results/{wildcards.run:q}"


rule initial:
    input:
        ancient("results/{run}/plan.yaml"),
    output:
        "results/{run}/search/initial.json",
    params:
        settings=settings("initial"),
    shell:
        "{PYTHON:q} -m ptydesign initial results/{wildcards.run:q}"


rule propose:
    input:
        ancient("results/{run}/plan.yaml"),
        earlier_rounds,
    output:
        "results/{run}/search/{search}/round-{round}/points.json",
    params:
        settings=settings("propose"),
    priority: 20
    shell:
        "{PYTHON:q} -m ptydesign propose results/{wildcards.run:q} --threads {threads} "
        "--search {wildcards.search} --round {wildcards.round}"


rule evaluate:
    input:
        ancient("results/{run}/plan.yaml"),
        ancient("results/{run}/potential.json"),
        points_of_round,
    output:
        "results/{run}/search/{search}/round-{round}/chunk-{chunk}.json",
    wildcard_constraints:
        search="bo-[0-9.e+-]+",
    params:
        settings=settings("evaluate"),
    priority: 10  # rounds follow one another; what has no order fills the gaps
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} -m ptydesign evaluate results/{wildcards.run:q} --threads {threads} "
        "--search {wildcards.search} --round {wildcards.round} --chunk {wildcards.chunk}"


use rule evaluate as evaluate_unordered with:
    wildcard_constraints:
        search="(random|map)-[0-9.e+-]+",
    priority: 0


rule choose:
    input:
        ancient("results/{run}/plan.yaml"),
        lambda wildcards: of(wildcards.run, searches(wildcards.run)[wildcards.search].all_files()),
    output:
        "results/{run}/search/{search}/best.json",
    params:
        settings=settings("choose"),
    priority: 20
    shell:
        "{PYTHON:q} -m ptydesign choose results/{wildcards.run:q} --threads {threads} --search {wildcards.search}"


rule validate:
    input:
        ancient("results/{run}/plan.yaml"),
        ancient("results/{run}/potential.json"),
        "results/{run}/search/bo-{dose}/best.json",
    output:
        "results/{run}/validation/{dose}-{simulator}.json",
    params:
        settings=settings("validate"),
    priority: 5
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} -m ptydesign validate results/{wildcards.run:q} --threads {threads} "
        "--dose {wildcards.dose} --simulator {wildcards.simulator}"


for _run, _resolved in RUNS.items():

    # tables differ with the study (no map, no random search), so each study has a rule of its own
    rule:
        name:
            f"collect_{_run}"
        input:
            ancient(f"results/{_run}/plan.yaml"),
            ancient(f"results/{_run}/potential.json"),
            of(_run, flow.search_files(_resolved, (layout.BO, layout.RANDOM, layout.MAP))),
            of(_run, flow.winner_files(_resolved)),
            of(_run, layout.validation_files(_resolved.study)),
        output:
            of(_run, layout.table_files(_resolved.study)),
        params:
            settings=flow.settings(_resolved, "collect"),
            run=_run,
        shell:
            "{PYTHON:q} -m ptydesign collect results/{params.run:q} --threads {threads}"


rule figures:
    input:
        ancient("results/{run}/plan.yaml"),
        lambda wildcards: of(wildcards.run, layout.table_files(RUNS[wildcards.run].study)),
    output:
        "results/{run}/figures/index.json",
    params:
        settings=settings("figures"),
    shell:
        "{PYTHON:q} -m ptydesign figures results/{wildcards.run:q}"


rule report:
    input:
        ancient("results/{run}/plan.yaml"),
        "results/{run}/figures/index.json",
    output:
        "results/{run}/report.html",
    params:
        settings=settings("report"),
    shell:
        "{PYTHON:q} -m ptydesign report results/{wildcards.run:q}"
