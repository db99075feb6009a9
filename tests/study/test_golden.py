"""The job lists of all studies at every scale are those that the rules made before steps were data (golden/).

Allowed, since they changed on purpose: names of rules, plan.yaml -> resolved.yaml, a round of one chunk as one job
(`trials.json` for points.json and chunk-0.json, with the settings of both; priority 10 in a random search or map, too),
layout and algorithms in settings, versions of figures, memory (one formula), and that `collect` of regularisation names
all files that it reads.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from ptydesign import kinds
from ptydesign.study.store import digest

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "preview", "paper")
SHARED = {"plan.yaml": "resolve", "figures/index.json": "figures", "report.html": "report"}
WHOLE = re.compile(r"(search/[^/]+/round-\d+/)(points|chunk-0)\.json$")


class Golden:
    """The jobs of a scale."""

    def __init__(self, folder: Path, scale: str):
        def by_digest(name: str) -> dict[str, Any]:
            return json.loads(gzip.decompress((folder / f"{name}-{scale}.json.gz").read_bytes()))

        self.settings, self.inputs = by_digest("settings"), by_digest("inputs")
        self.jobs: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)  # study -> output -> job
        for row in (folder / f"jobs-{scale}.tsv").read_text().splitlines():
            study, rule, outputs, priority, memory, inputs, settings = row.split("\t")
            job = {"rule": rule, "outputs": outputs.split(" "), "priority": int(priority), "mem_mb": memory}
            job |= {"inputs": self.inputs[inputs], "settings": settings}
            for output in job["outputs"]:
                self.jobs[study][output] = job

    def same_settings(self, job: dict[str, Any], settings: Any) -> bool:
        """Whether settings are a job's, but for what is raised on purpose."""
        if digest(settings) == job["settings"]:
            return True
        return kept(json.loads(json.dumps(settings))) == kept(self.settings[job["settings"]])


def kept(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("layout", "algorithms")}


def renamed(files: list[str], known: dict[str, Any]) -> set[str]:
    """Files of the golden list as they are called now."""
    found = set()
    for file in files:
        match = WHOLE.match(file)
        one = match and match[1] + "chunk-0.json" in known and match[1] + "chunk-1.json" not in known
        found.add(match[1] + "trials.json" if one else {"plan.yaml": "resolved.yaml"}.get(file, file))
    return found


def compare(golden: Golden, name: str, run: Any) -> tuple[Counter, list[str]]:
    """(differences, golden outputs that nothing makes)."""
    known, found = golden.jobs[name], Counter()
    left = set(known) - set(SHARED)
    for job in run.kind.jobs(run.resolved):
        step, outputs = job.step.name, list(job.outputs)
        if outputs[0].endswith("/trials.json"):
            base = outputs[0].removesuffix("trials.json")
            old = {"propose": known[base + "points.json"], "evaluate": known[base + "chunk-0.json"]}
            for part, one in old.items():
                found[step, f"settings of {part}"] += not golden.same_settings(one, job.settings[part])
            wanted = {f for one in old.values() for f in one["inputs"]} - {base + "points.json"}
            last, left = old["evaluate"], left - {base + "points.json", base + "chunk-0.json"}
        elif outputs[0] not in known:
            found[step, f"new: {outputs[0]}"] += 1
            continue
        else:
            last = known[outputs[0]]
            found[step, "outputs"] += set(outputs) != set(last["outputs"])
            found[step, "settings"] += not golden.same_settings(last, job.settings)
            wanted, left = set(last["inputs"]), left - set(outputs)
        found[step, "inputs"] += renamed(sorted(wanted), known) != set(job.inputs)
        found[step, f"priority {last['priority']} -> {job.step.priority}"] += last["priority"] != job.step.priority
        memory = str(run.memory_mb(job.step, 1))
        found[step, f"memory {last['mem_mb']} -> {memory}"] += last["mem_mb"] != memory
    for file, step in SHARED.items():
        found[step, "settings"] += not golden.same_settings(known[file], run.settings(step))
    return +found, sorted(left)


@pytest.mark.parametrize("scale", SCALES)
def test_jobs_are_those_of_the_former_rules(scale, monkeypatch):
    monkeypatch.chdir(ROOT)
    golden = Golden(Path(__file__).parent / "golden", scale)
    for name in sorted(golden.jobs):
        run = kinds.open_study(Path("studies") / name.removesuffix(f"-{scale}"), scale, Path("results"))
        found, left = compare(golden, name, run)
        wrong = {(step, what) for step, what in found if not what.startswith("memory") and step not in SHARED.values()}
        allowed = {("collect", "inputs")} if run.kind.name == "regularisation" else set()
        allowed |= {("round", "priority 0 -> 10")}
        assert wrong <= allowed, name
        assert not left, name
