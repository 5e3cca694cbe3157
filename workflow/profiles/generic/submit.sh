#!/usr/bin/env bash
# Submit a job to the scheduler and print its number: submit.sh THREADS MEGABYTES MINUTES GPUS SCRIPT
# The job writes its exit status to a file, because schedulers differ in how they report it and for how long.
set -euo pipefail
threads=$1 megabytes=$2 minutes=$3 gpus=$4 script=$5

folder=$PWD/.snakemake/jobs
mkdir -p "$folder"
job=$(mktemp "$folder/$(basename "$script").XXXXXX")
cat >"$job" <<END
#!/usr/bin/env bash
cd '$PWD'
bash '$script'
status=\$?
echo "\$status" >'$job.exit'
exit "\$status"
END

# ---- For another scheduler, change this command. ----
number=$(qsub -V -j oe -o "$job.log" \
    -l "nodes=1:ppn=$threads:gpus=$gpus,mem=${megabytes}mb,walltime=$minutes:00" "$job")

ln -s "$job" "$folder/$number"
echo "$number"
