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
from ptydesign import compiled
from ptydesign.errors import InputError, said
from ptydesign.study import child, leftovers, parent, retries, slurm, terminal
from ptydesign.study.damage import remove_damaged
from ptydesign.study.file import DEFAULT_SCALE, RESOLVED
from ptydesign.study.progress import watch
from ptydesign.study.rules import rules, step_command
from ptydesign.study.store import FOLDER, cache_folder
from ptydesign.study.watched import Watched

PYTHON = sys.executable
os.environ["PYTHONSAFEPATH"] = "1"  # jobs: a module in the folder that they run in isn't imported instead of a library's
STUDIES, RESULTS = Path("studies"), Path("results")
MAIN = workflow.is_main_process  # not one of the jobs that an executor started
LOOKS = ("--summary", "-S", "--detailed-summary", "-D", "--dag", "--rulegraph", "--filegraph", "--list", "-l", "--report")
DRY = workflow.output_settings.dryrun or any(word.split("=")[0] in LOOKS for word in sys.argv)
GPU = "gpu" in (workflow.resource_settings.default_resources or {})  # a profile's
os.environ["PTYDESIGN_CORES"] = str(workflow.resource_settings.nodes or workflow.resource_settings.cores or os.cpu_count())

try:
    RUNS = kinds.load_studies(STUDIES, config, sys.argv[1:], RESULTS)
    if MAIN:
        kinds.check_sizes(RUNS.values())
except InputError as error:
    print(said(error), file=sys.stderr)
    sys.exit(2)

WATCHED = Watched(RUNS, sys.argv[1:], STUDIES, int(os.environ["PTYDESIGN_CORES"]))
if MAIN:
    slurm.remember_jobs()
    retries.not_of_refused(logger, workflow)
    terminal.tell_less(logger, jobs=workflow.output_settings.verbose or workflow.output_settings.printshellcmds)
if "--unlock" in sys.argv:
    leftovers.forget(Path(".snakemake"))
elif MAIN and not DRY:
    parent.end_with_parent(parent.end_group)
    try:
        _folders = [run.resolved.results for run in WATCHED.runs]
        _told = leftovers.enter(Path(".snakemake"), _folders, cache_folder(RESULTS), RESULTS / FOLDER)
    except InputError as error:
        print(said(error), file=sys.stderr)
        sys.exit(2)
    for _words in _told:
        print(f"ptydesign: {_words}", file=sys.stderr)
    compiled.remove_broken(cache_folder(RESULTS) / "jax")
    for _run in RUNS.values():
        remove_damaged(_run)


os.environ.update(parent.named())  # jobs end with this process


onstart:
    child.hear_interrupts()
    try:
        if workflow.local_exec:
            kinds.check_fits(RUNS.values(), int(os.environ["PTYDESIGN_CORES"]))
        elif MAIN:  # the jobs of a cluster have no terminal
            watch(RUNS.values(), int(os.environ["PTYDESIGN_CORES"]))
        if MAIN:
            WATCHED.begin()
    except InputError as error:
        print(said(error), file=sys.stderr)
        sys.exit(2)


onsuccess:
    WATCHED.end(True)


onerror:
    WATCHED.end(False)


wildcard_constraints:
    run="|".join(RUNS) or "none",


# What `snakemake` does without a study: say which there are.
rule studies:
    localrule: True
    params:
        scale=config.get("scale", DEFAULT_SCALE),
    shell:
        "{PYTHON:q} -m ptydesign studies --scale {params.scale:q}"


rule all:
    localrule: True
    input:
        [f"{RESULTS}/{run}/report.html" for run in RUNS],


# A folder studies/<name> exists; a rule of that name is what runs, with and without a shell's trailing slash.
for _name, _run in RUNS.items():
    for _slash in ("", "/"):

        rule:
            name:
                f"studies/{_run.resolved.study.study}{_slash}"
            localrule: True
            input:
                f"{RESULTS}/{_name}/report.html",


rule resolve:
    localrule: True
    retries: 0  # they take seconds, here
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
    localrule: True
    retries: 0  # they take seconds, here
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
    localrule: True
    retries: 0  # they take seconds, here
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
        localrule: _rule.step.local
        resources:
            **_rule.resources(GPU),
        shell:  # a pipe, not a process substitution, which a cluster may end before all is written
            "{{ {PYTHON:q} {params.command} 2>&1 1>&3 3>&- | tee {log:q} >&2; }} 3>&1"
