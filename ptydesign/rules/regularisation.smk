# What a plan's settings and engines do to the reconstruction of a thick sample: data in chunks, plans tuned before they
# are compared, and reconstructions that are watched.

from ptydesign.regularisation import workflow as regularisation_flow
from ptydesign.thick import estimate as regularisation_estimate

REGULARISATIONS = runs_of("regularisation")


def regularisation_which(wildcards):
    return {name: wildcards.get(name) for name in ("plan", "item") if wildcards.get(name) is not None}


def regularisation_settings(step):
    return lambda wildcards: REGULARISATIONS[wildcards.regularisation].settings(step, **regularisation_which(wildcards))


def regularisation_command(step):
    return lambda wildcards: command_of(REGULARISATIONS[wildcards.regularisation], step, **regularisation_which(wildcards))


def regularisation_memory(step):
    def needed(wildcards, attempt):
        found = regularisation_flow.memory(REGULARISATIONS[wildcards.regularisation].resolved)
        return regularisation_estimate.job_memory_mb(found[step], attempt)

    return needed


def regularisation_chunks(wildcards):
    return of(wildcards.regularisation, REGULARISATIONS[wildcards.regularisation].resolved.chunk_files("base"))


def regularisation_tuning(wildcards):
    resolved = REGULARISATIONS[wildcards.regularisation].resolved
    return of(wildcards.regularisation, regularisation_flow.tuning_files(resolved, wildcards.item))


wildcard_constraints:
    regularisation=names_of("regularisation"),
    plan="[a-z0-9_]+",
    item="[a-z0-9_]+",


rule regularisation_specimen:
    output:
        "results/{regularisation}/specimen.h5",
    params:
        settings=regularisation_settings("regularisation-specimen"),
        command=regularisation_command("regularisation-specimen"),
    resources:
        mem_mb=regularisation_memory("simulation"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads}"


rule regularisation_simulate:
    input:
        "results/{regularisation}/specimen.h5",
    output:
        "results/{regularisation}/data/base/chunk-{chunk}.h5",
    params:
        settings=regularisation_settings("regularisation-simulate"),
        command=regularisation_command("regularisation-simulate"),
    priority: 10
    resources:
        mem_mb=regularisation_memory("simulation"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --chunk {wildcards.chunk}"


rule regularisation_tune:
    input:
        "results/{regularisation}/specimen.h5",
        regularisation_chunks,
    output:
        "results/{regularisation}/tuning/{plan}.json",
    params:
        settings=regularisation_settings("regularisation-tune"),
        command=regularisation_command("regularisation-tune"),
    priority: 20
    resources:
        mem_mb=regularisation_memory("reconstruction"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --plan {wildcards.plan}"


rule regularisation_reconstruct:
    input:
        "results/{regularisation}/specimen.h5",
        regularisation_chunks,
        regularisation_tuning,
    output:
        "results/{regularisation}/reconstruction/{item}.h5",
        "results/{regularisation}/errors/{item}.json",
    params:
        settings=regularisation_settings("regularisation-reconstruct"),
        command=regularisation_command("regularisation-reconstruct"),
    resources:
        mem_mb=regularisation_memory("reconstruction"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --item {wildcards.item}"


for _name, _run in REGULARISATIONS.items():

    rule:
        name:
            f"collect_{_name}"
        input:
            f"results/{_name}/specimen.h5",
            of(_name, regularisation_flow.error_files(_run.resolved)),
            of(_name, regularisation_flow.tuning_files(_run.resolved)),
        output:
            of(_name, regularisation_flow.table_files(_run.resolved)),
        params:
            settings=_run.settings("regularisation-collect"),
            command=command_of(_run, "regularisation-collect"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"
