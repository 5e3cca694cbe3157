#!/usr/bin/env bash
# Print the state of a job, running (also while it waits), success or failed: status.sh NAME
set -euo pipefail
name_and_ends='jsonpath={.metadata.name} {.status.conditions[?(@.status=="True")].type}'
if ! answer=$(kubectl get job "$1" --ignore-not-found --output "$name_and_ends"); then
    echo running # the state is unknown for now
    exit
fi
case " $answer " in
    *" Complete "*) echo success ;;
    *" Failed "*) echo failed ;;
    *" $1 "*) echo running ;;
    *) echo failed ;; # the job was deleted
esac
