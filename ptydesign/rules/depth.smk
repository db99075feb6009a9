# At which depth are single atoms found: a thick sample, data in chunks, a reconstruction of every experiment, and
# reconstructions under assumed thicknesses. Chunks are known from the study file.

from ptydesign.depth import workflow as depth_flow
from ptydesign.thick import estimate as thick_estimate

DEPTHS = runs_of("depth")


def depth_which(wildcards):
    names = ("data", "variant", "guess")
    return {name: wildcards.get(name) for name in names if wildcards.get(name) is not None}


def depth_settings(step):
    return lambda wildcards: DEPTHS[wildcards.depth].settings(step, **depth_which(wildcards))


def depth_command(step):
    return lambda wildcards: command_of(DEPTHS[wildcards.depth], step, **depth_which(wildcards))


def depth_memory(step):
    def needed(wildcards, attempt):
        return thick_estimate.job_memory_mb(depth_flow.memory(DEPTHS[wildcards.depth].resolved)[step], attempt)

    return needed


def depth_chunks(wildcards):
    name = wildcards.get("variant") or "base"
    return of(wildcards.depth, DEPTHS[wildcards.depth].resolved.chunk_files(name))


wildcard_constraints:
    depth=names_of("depth"),
    data="[a-z0-9_]+",
    variant="[a-z0-9_]+",
    guess="[0-9]+x[0-9.]+",


rule depth_specimen:
    output:
        "results/{depth}/specimen.h5",
    params:
        settings=depth_settings("depth-specimen"),
        command=depth_command("depth-specimen"),
    resources:
        mem_mb=depth_memory("simulation"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads}"


rule depth_simulate:
    input:
        "results/{depth}/specimen.h5",
    output:
        "results/{depth}/data/{data}/chunk-{chunk}.h5",
    params:
        settings=depth_settings("depth-simulate"),
        command=depth_command("depth-simulate"),
    priority: 10
    resources:
        mem_mb=depth_memory("simulation"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --data {wildcards.data} --chunk {wildcards.chunk}"


rule depth_reconstruct:
    input:
        depth_chunks,
    output:
        "results/{depth}/reconstruction/{variant}.h5",
    params:
        settings=depth_settings("depth-reconstruct"),
        command=depth_command("depth-reconstruct"),
    priority: 20
    resources:
        mem_mb=depth_memory("reconstruction"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --variant {wildcards.variant}"


rule depth_measure:
    input:
        "results/{depth}/specimen.h5",
        "results/{depth}/reconstruction/{variant}.h5",
    output:
        "results/{depth}/measure/{variant}.json",
    params:
        settings=depth_settings("depth-measure"),
        command=depth_command("depth-measure"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --variant {wildcards.variant}"


rule depth_thickness:
    input:
        depth_chunks,
    output:
        "results/{depth}/thickness/{guess}.json",
    params:
        settings=depth_settings("depth-thickness"),
        command=depth_command("depth-thickness"),
    resources:
        mem_mb=depth_memory("reconstruction"),
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --guess {wildcards.guess}"


for _name, _run in DEPTHS.items():

    rule:
        name:
            f"collect_{_name}"
        input:
            f"results/{_name}/specimen.h5",
            of(_name, [f"reconstruction/{depth_flow.BASE}.h5"]),
            of(_name, depth_flow.measure_files(_run.resolved)),
            of(_name, depth_flow.guess_files(_run.resolved)),
        output:
            of(_name, depth_flow.table_files(_run.resolved)),
        params:
            settings=_run.settings("depth-collect"),
            command=command_of(_run, "depth-collect"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"
