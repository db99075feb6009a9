# Which experiment is best, at each dose: rounds of a search, a random search, a map, winners simulated again.
# Rounds and chunks are known from the study file.

from ptydesign.experiment import layout, workflow as experiment_flow

EXPERIMENTS = runs_of("experiment")


def searches(name):
    return layout.searches(EXPERIMENTS[name].resolved.study)


def which(wildcards):
    """The search and round that a job belongs to, if it does."""
    found = {"search": wildcards.get("search"), "round_": int(wildcards.get("round", 0))}
    return found if found["search"] else {}


def experiment_settings(step):
    return lambda wildcards: EXPERIMENTS[wildcards.experiment].settings(step, **which(wildcards))


def experiment_command(step):
    return lambda wildcards: command_of(EXPERIMENTS[wildcards.experiment], step, **which(wildcards))


def points_of_round(wildcards):
    search = searches(wildcards.experiment)[wildcards.search]
    return of(wildcards.experiment, [search.points_file(int(wildcards.round))])


def earlier_rounds(wildcards):
    search, round_ = searches(wildcards.experiment)[wildcards.search], int(wildcards.round)
    files = [file for r in range(round_) for file in search.chunk_files(r)]
    return of(wildcards.experiment, files + ([search.points_file(round_ - 1)] if round_ else []))


def memory_mb(wildcards, attempt):
    return experiment_flow.job_memory_mb(EXPERIMENTS[wildcards.experiment].resolved, attempt)


wildcard_constraints:
    experiment=names_of("experiment"),
    search="[a-z]+-[0-9.e+-]+",
    round="[0-9]+",
    chunk="[0-9]+",
    dose="[0-9.e+-]+",
    simulator="jax|abtem",


rule potential:
    output:
        "results/{experiment}/potential.json",
    params:
        settings=experiment_settings("potential"),
        command=experiment_command("potential"),
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} {params.command}"


rule propose:
    input:
        earlier_rounds,
    output:
        "results/{experiment}/search/{search}/round-{round}/points.json",
    params:
        settings=experiment_settings("propose"),
        command=experiment_command("propose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--search {wildcards.search} --round {wildcards.round}"


rule evaluate:
    input:
        "results/{experiment}/potential.json",
        points_of_round,
    output:
        "results/{experiment}/search/{search}/round-{round}/chunk-{chunk}.json",
    wildcard_constraints:
        search="bo-[0-9.e+-]+",
    params:
        settings=experiment_settings("evaluate"),
        command=experiment_command("evaluate"),
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
        lambda wildcards: of(wildcards.experiment, searches(wildcards.experiment)[wildcards.search].all_files()),
    output:
        "results/{experiment}/search/{search}/best.json",
    params:
        settings=experiment_settings("choose"),
        command=experiment_command("choose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.search}"


rule validate:
    input:
        "results/{experiment}/potential.json",
        "results/{experiment}/search/bo-{dose}/best.json",
    output:
        "results/{experiment}/validation/{dose}-{simulator}.json",
    params:
        settings=experiment_settings("validate"),
        command=experiment_command("validate"),
    priority: 5
    resources:
        mem_mb=memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--dose {wildcards.dose} --simulator {wildcards.simulator}"


for _name, _run in EXPERIMENTS.items():

    # tables differ with the study (no map, no random search), so each study has a rule of its own
    rule:
        name:
            f"collect_{_name}"
        input:
            f"results/{_name}/potential.json",
            of(_name, experiment_flow.search_files(_run.resolved, (layout.BO, layout.RANDOM, layout.MAP))),
            of(_name, experiment_flow.winner_files(_run.resolved)),
            of(_name, layout.validation_files(_run.resolved.study)),
        output:
            of(_name, layout.table_files(_run.resolved.study)),
        params:
            settings=_run.settings("collect"),
            command=command_of(_run, "collect"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"
