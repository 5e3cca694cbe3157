# The workflow with its locked environment, for CPUs and, with NVIDIA's container runtime, for GPUs:
#   docker build -t nmer .
#   docker run --rm -v "$PWD/results:/nmer/results" -v /my/corpora:/data nmer run paper --data /data
#   docker run --rm --gpus all -v "$PWD/results:/nmer/results" nmer run demo
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

ENV PATH=/nmer/.venv/bin:$PATH
ENTRYPOINT ["nmer"]
CMD ["run", "demo"]
