# NMER: from multimodal emotion features to the tables and figures of arXiv 2311.16114.
# What is run is said in config.yaml; what each job depends on, in scripts/nmer/plan/plan.py.
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")

if set("{}") & set(str(workflow.basedir)):
    raise WorkflowError(
        f"{workflow.basedir}: Snakemake reads braces in the name of a workflow's folder as wildcards. Rename it."
    )

# Rules name their programs and tables by paths from here.
if Path(workflow.basedir).resolve() != Path.cwd():
    raise WorkflowError(
        f"Call Snakemake from the folder of its Snakefile: cd {shlex.quote(str(workflow.basedir))}. "
        "From elsewhere, with -s or --directory, it does not work yet."
    )


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# A group of jobs on a cluster asks for the GPUs of one job, not for their sum.
resource_scopes:
    gpu="local",


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/noise.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"results/{plan.name}/report.html",
    localrule: True


rule features:
    input:
        expand("results/features/{dataset}.json", dataset=plan.datasets),
    log:
        "results/logs/features/summary.log",
    localrule: True
    conda:
        "envs/light.yaml"
    params:
        code=plan.code("show_features.py"),
    shell:
        "python scripts/show_features.py --code {params.code:q} {input:q} | tee {log:q}"


rule noisy:
    input:
        [plan.noisy(d, c) for d in plan.datasets for c in plan.corruptions_of(d)],
    localrule: True


rule tables:
    input:
        expand("{stem}.csv", stem=plan.table_stems()),
    localrule: True


rule figures:
    input:
        expand("{stem}.png", stem=plan.figure_stems()),
    localrule: True
