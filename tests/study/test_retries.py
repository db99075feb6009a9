"""Jobs that refused what they were given aren't tried again; those that died are."""

from __future__ import annotations

import subprocess
import sys

RULES = """
from pathlib import Path
from ptydesign.study import retries

retries.not_of_refused(logger, workflow)

rule all:
    input: ["refused", "died"]

rule refused:
    output: "refused"
    log: "refused.log"
    shell: "echo refused >> starts; (echo working; echo 'error: disk: must have room; got none.') > {log}; exit 2"

rule died:
    output: "died"
    log: "died.log"
    resources: mem_mb=lambda wildcards, attempt: 100 * attempt
    shell: "echo died >> starts; echo working > {log}; test $(grep -c died starts) = 3 && touch {output}"
"""


def test_a_job_that_refused_its_input_is_not_tried_again(tmp_path):
    (tmp_path / "Snakefile").write_text(RULES)
    options = ["--cores", "1", "--retries", "3", "--keep-going", "--resources", "mem_mb=400"]
    command = [sys.executable, "-m", "snakemake", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    starts = (tmp_path / "starts").read_text().split()
    assert starts.count("refused") == 1, done.stderr
    assert starts.count("died") == 3, done.stderr
    assert (tmp_path / "died").exists()
    assert done.returncode == 1
