# The workflow with its locked environment, for CPUs and, with NVIDIA's container runtime, for GPUs:
#   docker build -t nmer .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/project" nmer run demo
#   docker run --rm --user "$(id -u):$(id -g)" --gpus all -v "$PWD:/project" -v /my/corpora:/data nmer run paper --data /data
# Results are written to results/ in the current folder, whose config/config.yaml is read if it exists.
FROM python:3.11-slim-bookworm

# The report reads the commit with git.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /nmer
# The environment comes first, because it changes less often than the code.
COPY envs envs
COPY Makefile pyproject.toml README.md LICENSE ./
COPY scripts/nmer/__init__.py scripts/nmer/__init__.py
ARG GPUS=1
RUN make environment GPUS=${GPUS}
COPY . .
# A user given by --user has no name, no home and no right to write here, and git distrusts the owner of the files.
RUN .venv/bin/python -m compileall -q scripts && git config --system --add safe.directory /nmer
ENV PATH=/nmer/.venv/bin:$PATH HOME=/tmp USER=nmer

WORKDIR /project
ENTRYPOINT ["nmer"]
CMD ["run", "demo"]
