"""Pin every package of the environment with the SHA-256 of all its files (`make lock`).

Writes to the folder of this file: ``requirements.lock``, all packages except the CUDA libraries;
``torch_cuda.lock``, the CUDA libraries of PyTorch's builds for Linux; ``torch_cpu.lock``, the CPU builds, which PyPI
does not have; ``extract.txt``, the additional packages for extraction from raw media (`make extraction`).
Resolves for all systems at once and pins every file of a release, so one lock serves all systems.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"
CUDA = re.compile(r"(nvidia|cuda)-|triton==")
HEADS = {
    "requirements.lock": "Every package of the environment, with the digests of all its files (made by `make lock`).",
    "torch_cuda.lock": "What torch needs besides on Linux, where it is the build for GPUs (made by `make lock`).",
    "extract.txt": "What extraction from raw media needs on top of requirements.lock (made by `make lock`).",
    "torch_cpu.lock": "The same torch for CPUs alone, from an index that has it (made by `make lock`).",
}


def main() -> None:
    """Resolve and write the lock files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-builds", required=True, type=Path, help="folder with PyTorch's wheels for CPUs")
    arguments = parser.parse_args()
    packages = resolve((HERE / "requirements.in").read_text())
    torch = next(package for package in packages if package.startswith("torch=="))
    version = re.match(r"torch==([\w.]+)", torch)[1]
    wheels = sorted(arguments.cpu_builds.glob(f"torch-{version}+cpu-*.whl"))
    if not wheels:
        sys.exit(f"error: {arguments.cpu_builds}: has no torch-{version}+cpu-*.whl. Download them there and run again.")
    digests = [f"    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" for wheel in wheels]
    cpu = [" \\\n".join([f"torch=={version}+cpu", *digests])]
    write("requirements.lock", [package for package in packages if not CUDA.match(package)])
    write("torch_cuda.lock", [package for package in packages if CUDA.match(package)])
    write("torch_cpu.lock", cpu)
    write("extract.txt", extraction(packages))


def extraction(packages: list[str]) -> list[str]:
    """Return the packages that extraction needs in addition to the environment, resolved with its versions."""
    known = {package.partition("==")[0] for package in packages}
    pins = [re.match(r"\S+==[^\s;]+", package)[0] for package in packages]
    added = resolve("\n".join([*pins, (HERE / "extract.in").read_text()]))
    weights = resolve((HERE / "extract_weights.in").read_text(), "--no-deps")
    return sorted(package for package in [*added, *weights] if package.partition("==")[0] not in known)


def resolve(requirements: str, *options: str) -> list[str]:
    """Resolve requirements to the lines of a lock file, with digests."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", PYTHON]
    # One version of each package for all later Pythons, so results do not differ between Pythons.
    command += ["--fork-strategy", "fewest", "--no-config", "--index-url", "https://pypi.org/simple"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", *options, "-"]
    output = subprocess.run(command, input=requirements, text=True, check=True, stdout=subprocess.PIPE).stdout
    return re.split(r"\n(?=\S)", output.strip())


def write(name: str, packages: list[str]) -> None:
    """Write a lock file."""
    (HERE / name).write_text("\n".join([f"# {HEADS[name]}", *packages]) + "\n")


if __name__ == "__main__":
    main()
