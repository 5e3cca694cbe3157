#!/usr/bin/env bash
# Submit a job to the scheduler and print its number: submit.sh THREADS MEGABYTES MINUTES GPUS SCRIPT
# The job leaves its exit status in a file, for schedulers differ in how long and in what words they remember it.
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
