# Which reconstruction parameters are best: two scans, searches side by side (each a chain of segments), the plan that they
# found and its references on other data, doses and budgets.

from ptydesign.tuning import layout as tuning_layout, workflow as tuning_flow

TUNINGS = runs_of("tuning")


def tuning_study(wildcards):
    return TUNINGS[wildcards.tuning].resolved.study


def tuning_settings(step, **names):
    def found(wildcards):
        return TUNINGS[wildcards.tuning].settings(step, **{n: kind(wildcards[n]) for n, kind in names.items()})

    return found


def tuning_command(step, **names):
    def found(wildcards):
        return command_of(TUNINGS[wildcards.tuning], step, **{n: kind(wildcards[n]) for n, kind in names.items()})

    return found


def segment_before(wildcards):
    search = tuning_layout.searches(tuning_study(wildcards))[wildcards.plans]
    return of(wildcards.tuning, [search.file(int(wildcards.segment) - 1)] if int(wildcards.segment) else [])


def assessed_data(wildcards):
    group = tuning_layout.groups(tuning_study(wildcards))[wildcards.group]
    return of(wildcards.tuning, [tuning_layout.data_file(group.repeat)])


def tuning_memory_mb(wildcards, attempt):
    return tuning_flow.job_memory_mb(TUNINGS[wildcards.tuning].resolved, attempt)


wildcard_constraints:
    tuning=names_of("tuning"),
    plans="(bo|random)-[ws][0-9.e+-]+",
    segment="[0-9]+",
    repeat="[0-9]+",
    group="[a-z]+(-[0-9a-z.e+-]+)?",


rule scan:
    output:
        "results/{tuning}/data/repeat-{repeat}.json",
    params:
        settings=tuning_settings("scan", repeat=int),
        command=tuning_command("scan", repeat=int),
    priority: 30
    resources:
        mem_mb=tuning_memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --repeat {wildcards.repeat}"


rule tune:
    input:
        "results/{tuning}/data/repeat-0.json",
        segment_before,
    output:
        "results/{tuning}/search/{plans}/segment-{segment}.json",
    params:
        settings=lambda w: TUNINGS[w.tuning].settings("tune", search=w.plans, segment=int(w.segment)),
        command=lambda w: command_of(TUNINGS[w.tuning], "tune", search=w.plans, segment=int(w.segment)),
    priority: 20
    resources:
        mem_mb=tuning_memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.plans} --segment {wildcards.segment}"


rule assess:
    input:
        "results/{tuning}/best.json",
        assessed_data,
    output:
        "results/{tuning}/assess/{group}.json",
    params:
        settings=tuning_settings("assess", group=str),
        command=tuning_command("assess", group=str),
    priority: 10
    resources:
        mem_mb=tuning_memory_mb,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --group {wildcards.group}"


for _name, _run in TUNINGS.items():
    _study = _run.resolved.study

    # their files differ with the study, so each study has rules of its own
    rule:
        name:
            f"pick_{_name}"
        input:
            of(_name, [s.last_file for s in tuning_layout.searches(_study).values()]),
        output:
            of(_name, tuning_layout.best_files(_study)),
        params:
            settings=_run.settings("pick"),
            command=command_of(_run, "pick"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"

    rule:
        name:
            f"tabulate_{_name}"
        input:
            of(_name, ["best.json", *(g.file for g in tuning_layout.groups(_study).values())]),
            of(_name, [tuning_layout.data_file(r) for r in tuning_layout.scans(_study)]),
        output:
            of(_name, tuning_layout.table_files(_study)),
        params:
            settings=_run.settings("tabulate"),
            command=command_of(_run, "tabulate"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"
