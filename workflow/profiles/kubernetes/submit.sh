#!/usr/bin/env bash
# Create a job in Kubernetes and print its name: submit.sh THREADS MEGABYTES MINUTES GPUS SCRIPT
# The environment variables NMER_IMAGE, NMER_VOLUME_CLAIM and NMER_VOLUME_PATH define the pods.
set -euo pipefail
: "${NMER_IMAGE:?: set it to an image with Python and bash}"
: "${NMER_VOLUME_CLAIM:?: set it to the claim of the volume that contains this folder}"
: "${NMER_VOLUME_PATH:?: set it to the mount path of that volume}"
export THREADS=$1 MEGABYTES=$2 SECONDS_TO_RUN=$(($3 * 60)) GPUS=$4 SCRIPT=$5 FOLDER=$PWD

python -c 'import os, string, sys; print(string.Template(sys.stdin.read()).substitute(os.environ))' \
    <"$(dirname "$0")/job.yaml" | kubectl create --filename - --output 'jsonpath={.metadata.name}'
