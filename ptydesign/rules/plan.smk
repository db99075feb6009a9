# An experiment planned before beam time: card, searches at each dose (each warm-started by the one below), candidates
# under errors, limits, tables. Rounds, chunks and designs are known from the plan.

from ptydesign.planning import layout as plan_layout, workflow as plan_flow

PLANS = runs_of("plan")


def plan_searches(name):
    return plan_layout.searches(PLANS[name].resolved.study)


def plan_which(wildcards):
    """The search and round, or the design, that a job belongs to."""
    if wildcards.get("design"):
        return {"design": wildcards.design}
    if wildcards.get("parameter"):
        return {"parameter": wildcards.parameter}
    if wildcards.get("plansearch"):
        found = {"search": wildcards.plansearch}
        return {**found, "round_": int(wildcards.round)} if wildcards.get("round") is not None else found
    return {}


def plan_settings(step):
    return lambda wildcards: PLANS[wildcards.plan].settings(step, **plan_which(wildcards))


def plan_command(step):
    return lambda wildcards: command_of(PLANS[wildcards.plan], step, **plan_which(wildcards))


def plan_points(wildcards):
    return of(wildcards.plan, [plan_searches(wildcards.plan)[wildcards.plansearch].points_file(int(wildcards.round))])


def plan_history(wildcards):
    """What the points of a round depend on: earlier rounds, or the whole search at the dose below."""
    found, round_ = plan_searches(wildcards.plan), int(wildcards.round)
    search = found[wildcards.plansearch]
    if round_:
        files = [file for r in range(round_) for file in search.chunk_files(r)]
        return of(wildcards.plan, [*files, search.points_file(round_ - 1)])
    below = [s for s in found.values() if s.dose_e_per_a2 == search.before]
    return of(wildcards.plan, [file for s in below for file in s.all_files()])


def plan_files(wildcards):
    return of(wildcards.plan, plan_searches(wildcards.plan)[wildcards.plansearch].all_files())


def plan_winner(wildcards):
    """The winner at the dose limit."""
    return of(wildcards.plan, [list(plan_searches(wildcards.plan).values())[-1].best_file])


def plan_robust(wildcards):
    """All designs under errors, among which one is recommended."""
    return of(wildcards.plan, plan_layout.robust_files(PLANS[wildcards.plan].resolved.study))


def plan_memory(wildcards, attempt):
    return plan_flow.job_memory_mb(PLANS[wildcards.plan].resolved, attempt)


wildcard_constraints:
    plan=names_of("plan"),
    plansearch="[0-9.e+-]+",
    design="candidate-[0-9]+|expert|recommended",
    parameter="[a-z_]+",


rule plancard:
    output:
        "results/{plan}/card.json",
    params:
        settings=plan_settings("plancard"),
        command=plan_command("plancard"),
    priority: 90
    shell:
        "{PYTHON:q} {params.command}"


rule planpotentials:
    input:
        "results/{plan}/card.json",
    output:
        "results/{plan}/potentials.json",
    params:
        settings=plan_settings("planpotentials"),
        command=plan_command("planpotentials"),
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command}"


rule planpropose:
    input:
        plan_history,
    output:
        "results/{plan}/search/{plansearch}/round-{round}/points.json",
    params:
        settings=plan_settings("planpropose"),
        command=plan_command("planpropose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.plansearch} --round {wildcards.round}"


rule planevaluate:
    input:
        "results/{plan}/potentials.json",
        plan_points,
    output:
        "results/{plan}/search/{plansearch}/round-{round}/chunk-{chunk}.json",
    params:
        settings=plan_settings("planevaluate"),
        command=plan_command("planevaluate"),
    priority: 10
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} "
        "--search {wildcards.plansearch} --round {wildcards.round} --chunk {wildcards.chunk}"


rule planchoose:
    input:
        plan_files,
    output:
        "results/{plan}/search/{plansearch}/best.json",
    params:
        settings=plan_settings("planchoose"),
        command=plan_command("planchoose"),
    priority: 20
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.plansearch}"


rule planscreen:
    input:
        plan_files,
    output:
        "results/{plan}/screen/{plansearch}.json",
    params:
        settings=plan_settings("planscreen"),
        command=plan_command("planscreen"),
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --search {wildcards.plansearch}"


rule planrobust:
    input:
        "results/{plan}/potentials.json",
        plan_winner,
    output:
        "results/{plan}/robust/{design}.json",
    params:
        settings=plan_settings("planrobust"),
        command=plan_command("planrobust"),
    priority: 5
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --design {wildcards.design}"


rule plantolerance:
    input:
        "results/{plan}/potentials.json",
        plan_winner,
        plan_robust,
    output:
        "results/{plan}/tolerance/{parameter}.json",
    params:
        settings=plan_settings("plantolerance"),
        command=plan_command("plantolerance"),
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --parameter {wildcards.parameter}"


rule planlimits:
    input:
        "results/{plan}/potentials.json",
        plan_robust,
    output:
        "results/{plan}/limits/{design}.json",
    params:
        settings=plan_settings("planlimits"),
        command=plan_command("planlimits"),
    resources:
        mem_mb=plan_memory,
    shell:
        "{PYTHON:q} {params.command} --threads {threads} --design {wildcards.design}"


for _name, _run in PLANS.items():

    rule:
        name:
            f"plancollect_{_name}"
        input:
            of(_name, ["plan.yaml", "card.json", *plan_flow.record_files(_run.resolved)]),
        output:
            of(_name, plan_flow.table_files(_run.resolved)),
        params:
            settings=_run.settings("plancollect"),
            command=command_of(_run, "plancollect"),
        shell:
            "{PYTHON:q} {params.command} --threads {threads}"
