#!/usr/bin/env bash
# Print the state of a job, running (also while it waits), success or failed: status.sh NUMBER
set -euo pipefail
number=$1
job=$(readlink "$PWD/.snakemake/jobs/$number")
seconds_until_files_are_seen=10

# ---- For another scheduler, change this function: succeed if the job waits or runs, or if its state is unknown. ----
lives() {
    local answer code=0
    answer=$(qstat -f "$number" 2>/dev/null) || code=$?
    case $code in
        0) [[ ! $answer =~ job_state\ =\ [CF] ]] ;;
        35 | 153) return 1 ;; # finished, or unknown
        *) return 0 ;;
    esac
}

if lives; then
    echo running
    exit
fi
for ((second = 0; second < seconds_until_files_are_seen; second++)); do
    [[ -s $job.exit ]] && break
    sleep 1
done
# A job that was killed, or whose machine was lost, left no status.
if [[ $(cat "$job.exit" 2>/dev/null) == 0 ]]; then echo success; else echo failed; fi
