"""`python -m benchmarks.cluster`: a study on a real Slurm loses a job and the controller; its tables are the same.

Installs Debian's slurm-wlm and munge (as root, in a container or a virtual machine that may be changed so), starts one
node on loopback, runs the low-dose study at smoke scale here and with profiles/slurm, and compares. Needs
`pip install -e '.[slurm]'`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptydesign import machine

ROOT = Path(__file__).parents[1]
STUDY = "studies/lowdose"
CONFIGURATION = Path("/etc/slurm/slurm.conf")  # where Debian's Slurm looks, in a job too
DOWN_S = 60  # without a controller: longer than two checks
CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """One node and its controller."""

    def __init__(self, folder: Path, cores: int):
        self.daemons: dict[str, subprocess.Popen] = {}
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        memory_mb = int(0.9 * machine.memory_bytes() / 2**20)
        conf = CONF.format(host=socket.gethostname(), folder=folder, cores=cores, memory_mb=memory_mb)
        CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        CONFIGURATION.write_text(conf)

    def start(self, name: str) -> None:
        """A daemon, slurmctld or slurmd, as a child of this process."""
        self.daemons[name] = subprocess.Popen([name, "-D"], stderr=subprocess.DEVNULL)

    def stop(self, name: str) -> None:
        """A daemon, and wait for its end."""
        self.daemons[name].terminate()
        self.daemons.pop(name).wait()

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def running(self) -> list[str]:
        """Numbers of the jobs that run."""
        return self.ask("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


@contextmanager
def cluster(folder: Path, cores: int) -> Iterator[Cluster]:
    """A cluster that is up, until the end of the block."""
    if CONFIGURATION.exists():
        sys.exit(f"{CONFIGURATION} exists: this machine has a Slurm of its own")
    with munge():
        made = Cluster(folder, cores)
        try:
            for name in ("slurmctld", "slurmd"):
                made.start(name)
            until(lambda: "idle" in made.ask("sinfo", "--noheader", "--format=%t"), 60, "a node that is idle")
            yield made
        finally:
            for name in list(made.daemons):
                made.stop(name)
            CONFIGURATION.unlink()


@contextmanager
def munge() -> Iterator[None]:
    """The daemon that says who is who; one that runs already is used."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        yield
        return
    for place in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(place).mkdir(parents=True, exist_ok=True)
        shutil.chown(place, "munge", "munge")
    daemon = subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0, 20, "munge")
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def until(true, seconds: float, what: str) -> None:
    """Wait for something. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.5)


def install() -> None:
    """Slurm and munge, unless they are there. Raises SystemExit where that can't be done."""
    if lacking := [name for name in ("slurmctld", "slurmd", "munged") if shutil.which(name) is None]:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            sys.exit(f"needs {', '.join(lacking)}, or root and apt-get to install slurm-wlm and munge")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge"]
        subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)


def workplace(folder: Path) -> Path:
    """The rules, the profiles and one study."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    shutil.copytree(ROOT / "studies" / "lowdose", folder / "studies" / "lowdose")
    return folder


def snakemake(folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen:
    """Start the smoke study; what it says goes to output.txt."""
    command = [sys.executable, "-m", "snakemake", STUDY, *options, "--config", "scale=smoke"]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)


def disturb(made: Cluster, process: subprocess.Popen) -> Iterator[str]:
    """Cancel a job, then restart the controller while jobs run."""

    def busy() -> bool:
        if process.poll() is not None:
            raise RuntimeError("the study ended before it could be disturbed")
        return bool(made.running())

    until(busy, 300, "a job")
    time.sleep(3)  # it starts up
    until(busy, 300, "a job")
    job = made.running()[0]
    made.ask("scancel", job)
    yield f"cancelled job {job}"
    time.sleep(45)
    until(busy, 300, "a job")
    made.stop("slurmctld")
    time.sleep(DOWN_S)
    made.start("slurmctld")
    yield f"the controller was away for {DOWN_S} s"


def tables(folder: Path) -> dict[str, bytes]:
    """All tables of the study, and the images."""
    found = sorted((folder / "results" / "lowdose-smoke" / "tables").iterdir())
    return {path.name: path.read_bytes() for path in found}


def main(arguments: list[str] | None = None) -> int:
    """Run the study twice, and print what happened; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--cores", type=int, default=2, help="of the node (default: 2)")
    parser.add_argument("--seconds", type=float, default=2400, help="that the study may take (default: 2400)")
    options = parser.parse_args(arguments)
    install()
    with tempfile.TemporaryDirectory(prefix="cluster-") as place:
        folder = Path(place)
        environment = {**os.environ, "PTYDESIGN_CACHE": str(folder / "cache")}
        here = workplace(folder / "here")
        if snakemake(here, environment, "--cores", str(options.cores)).wait():
            sys.exit(f"the study failed without a cluster:\n{(here / 'output.txt').read_text()}")
        print("here: done", flush=True)
        with cluster(folder / "slurm", options.cores) as made:
            print(made.ask("sinfo", "--version"), flush=True)
            there, start = workplace(folder / "there"), time.monotonic()
            process = snakemake(
                there, environment, "--workflow-profile", "profiles/slurm", "--jobs", str(2 * options.cores)
            )
            try:
                for told in disturb(made, process):
                    print(f"after {time.monotonic() - start:.0f} s: {told}", flush=True)
                code = process.wait(options.seconds)
            except (subprocess.TimeoutExpired, TimeoutError, RuntimeError) as error:
                code = error
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                process.wait()
            output = (there / "output.txt").read_text()
            if code:
                print(output)
            print(f"after {time.monotonic() - start:.0f} s: snakemake ended with {code}")
            submitted = re.findall(r"submitted with SLURM jobid (\d+)", output)
            shown = [line for line in output.splitlines() if line.startswith(("ptydesign:", "failed:"))]
            print(f"{len(submitted)} jobs were submitted; of the terminal:", *shown, sep="\n  ")
        if code:
            return 1
        mine, theirs = tables(here), tables(there)
        same = [name for name in mine if mine[name] == theirs.get(name)]
        print(f"identical: {len(same)} of {len(mine)} tables ({', '.join(same)})")
        return int(len(same) < len(mine) or set(theirs) != set(mine))


if __name__ == "__main__":
    sys.exit(main())
