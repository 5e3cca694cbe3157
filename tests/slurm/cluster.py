#!/usr/bin/env python3
"""Run a command inside a private Slurm cluster on this machine: `cluster.py COMMAND...` (Linux, root).

Two nodes with one simulated GPU each, run by the daemons of Debian's packages munge, slurmctld, slurmd and
slurm-client. They run in separate namespaces (mounts, network, host name, processes): /etc, ports and processes of the
machine are not affected, only loopback is reachable, and everything ends with the command, whose exit status is
returned. State and logs are in a temporary folder, which is kept only if the command fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HOST = "pretended"
NODES = ("node1", "node2")
GPUS_PER_NODE = 1
SECONDS_TO_START = 60
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "unshare", "ip", "mount")

SLURM_CONF = """\
ClusterName=pretended
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=6817
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# Kill a job that exceeds its requested memory, as clusters do with control groups.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
KillWait=2
# Without accounting, squeue must remember every job of the run.
MinJobAge=3600
# A lost node returns automatically.
ReturnToService=2
JobRequeue=0
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
"""
NODE_LINE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs=4 RealMemory=8000 Gres=gpu:{gpus} State=UNKNOWN"
)


def main() -> int:
    """Enter the namespaces; inside them, start the cluster, run the command and exit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="command to run in the cluster")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("give a command to run in the cluster")
    if not arguments.inside:
        return enter(arguments.command)
    # The first process of a namespace ignores signals without a handler.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
    start(arguments.inside)
    command = subprocess.Popen(arguments.command, stdin=subprocess.DEVNULL)
    # The first process inherits processes of killed jobs. Slurm counts them as running until they are reaped.
    while (ended := os.wait())[0] != command.pid:
        pass
    return os.waitstatus_to_exitcode(ended[1])


def enter(command: list[str]) -> int:
    """Run this program again in new namespaces, which end with it."""
    os.environ["PATH"] = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/sbin"])
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        reason = f"not installed: {', '.join(missing)}" if missing else "only root can do this"
        print(f"error: a private Slurm cluster: {reason}. Call `make test-slurm` as root on Debian.", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="nmer-slurm-"))
    namespaces = ["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    again = [sys.executable, __file__, "--inside", str(folder), *command]
    status = subprocess.run(["unshare", *namespaces, *again], check=False).returncode
    if status:
        print(f"The logs of the Slurm cluster: {folder}/log", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return status


def start(folder: Path) -> None:
    """Start the daemons and wait until every node can take jobs."""
    for name in ("etc", "log", "state", "munge", "devices", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir()
    # munge refuses a socket that other users cannot reach.
    for path in (folder, folder / "munge"):
        path.chmod(0o755)
    make_host(folder)
    write_configuration(folder)
    # Job steps of Snakemake unset SLURM_CONF, so they find only /etc/slurm.
    Path("/etc/slurm").mkdir(exist_ok=True)
    run("mount", "--bind", folder / "etc", "/etc/slurm")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    socket = folder / "munge" / "socket"
    munge = [f"--key-file={key}", f"--socket={socket}", f"--pid-file={folder}/munge/pid"]
    daemon(folder, "munged", "--foreground", *munge, f"--log-file={folder}/log/munged.log", f"--seed-file={key}.seed")
    wait_until(socket.exists, folder)
    daemon(folder, "slurmctld", "-D")
    for node in NODES:
        daemon(folder, "slurmd", "-D", "-N", node, name=f"slurmd.{node}")
    wait_until(lambda: states() == ["idle"] * len(NODES), folder)


def make_host(folder: Path) -> None:
    """Set up a loopback network and a host name in the namespaces."""
    run("ip", "link", "set", "lo", "up")
    # Names are resolved only if an address other than 127.0.0.1 is configured.
    run("ip", "address", "add", "127.0.0.2/8", "dev", "lo")
    run("hostname", HOST)
    hosts = folder / "etc" / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {HOST}\n")
    run("mount", "--bind", hosts, "/etc/hosts")


def write_configuration(folder: Path) -> None:
    """Write slurm.conf and gres.conf; a simulated GPU is a device file that discards its input."""
    lines = [
        NODE_LINE.format(name=node, host=HOST, port=17001 + number, gpus=GPUS_PER_NODE)
        for number, node in enumerate(NODES)
    ]
    (folder / "etc" / "slurm.conf").write_text(SLURM_CONF.format(host=HOST, folder=folder, nodes="\n".join(lines)))
    devices = [folder / "devices" / f"nvidia{number}" for number in range(GPUS_PER_NODE)]
    for device in devices:
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
    files = "".join(f"NodeName={node} Name=gpu File={device}\n" for node in NODES for device in devices)
    (folder / "etc" / "gres.conf").write_text("AutoDetect=off\n" + files)


def run(*command: object) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], check=True)


def daemon(folder: Path, program: str, *arguments: str, name: str | None = None) -> None:
    """Start a daemon in the foreground of its own session, its output in the log folder."""
    with (folder / "log" / f"{name or program}.output").open("w") as output:
        subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def states() -> list[str]:
    """Return the state of every node; empty while the controller does not answer."""
    try:
        answer = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, timeout=5)
    except subprocess.TimeoutExpired:
        return []
    return answer.stdout.split()


def wait_until(condition: Callable[[], bool], folder: Path) -> None:
    """Wait until a condition holds; past the time limit, show the daemons' logs and stop."""
    end = time.monotonic() + SECONDS_TO_START
    while not condition():
        if time.monotonic() > end:
            for log in sorted((folder / "log").iterdir()):
                print(f"== {log.name}", *log.read_text().splitlines()[-20:], sep="\n", file=sys.stderr)
            sys.exit(f"error: the private Slurm cluster is not up after {SECONDS_TO_START} s.")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
