#!/usr/bin/env bash
# Say of a job whether it is running (or waits), has ended in success, or failed: status.sh NAME
set -euo pipefail
name_and_ends='jsonpath={.metadata.name} {.status.conditions[?(@.status=="True")].type}'
if ! answer=$(kubectl get job "$1" --ignore-not-found --output "$name_and_ends"); then
    echo running # nobody can say now
    exit
fi
case " $answer " in
    *" Complete "*) echo success ;;
    *" Failed "*) echo failed ;;
    *" $1 "*) echo running ;;
    *) echo failed ;; # it was deleted
esac
