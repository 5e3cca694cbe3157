# Evaluation: score every trained system under the incomplete conditions, all noisy and all clean; collect the scores in
# one tidy table; find trainings at chance; compute intervals, comparisons and ranks.


rule evaluate:
    input:
        features=ancient("results/features/{dataset}.h5"),
        noisy=ancient("results/noisy/{dataset}/{corruption}.h5"),
        models=lambda w: ancient(plan.models(w)),
        digests=lambda w: plan.digests(
            [
                plan.features(w.dataset),
                plan.noisy(w.dataset, w.corruption),
                *plan.models(w),
            ]
        ),
    output:
        scores="results/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.csv",
        predictions="results/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}_predictions.csv.gz",
    log:
        "results/logs/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.log",
    benchmark:
        "results/benchmarks/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.tsv"
    wildcard_constraints:
        regime="clean|incomplete|all_noisy",
        system=plan.named(plan.trained_systems),
    conda:
        "../../envs/torch.yaml"
    threads: plan.threads
    resources:
        gpu=lambda w: plan.gpus(w.dataset),
        compute_threads=plan.threads,
        mem_mb=lambda w, attempt: plan.memory_mb(w, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.evaluation_settings(w),
        code=lambda w: plan.code("evaluate.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/evaluate.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --noisy {input.noisy:q} \
            --models {input.models:q} \
            --scores {output.scores:q} \
            --predictions {output.predictions:q} \
            --threads {resources.compute_threads} \
            --gpus {resources.gpu} \
            >{log:q} 2>&1
        """


use rule evaluate as evaluate_clean with:
    input:
        features=ancient("results/features/{dataset}.h5"),
        noisy=[],
        models=lambda w: ancient(plan.models(w)),
        digests=lambda w: plan.digests([plan.features(w.dataset), *plan.models(w)]),
    output:
        scores="results/{experiment}/scores/{dataset}/{system}/{regime}/clean.csv",
        predictions="results/{experiment}/scores/{dataset}/{system}/{regime}/clean_predictions.csv.gz",
    log:
        "results/logs/{experiment}/scores/{dataset}/{system}/{regime}/clean.log",
    benchmark:
        "results/benchmarks/{experiment}/scores/{dataset}/{system}/{regime}/clean.tsv"
    wildcard_constraints:
        regime="clean",


use rule evaluate as evaluate_elsewhere with:
    output:
        scores="results/{experiment}/scores/{dataset}/{system}/{regime}/trained_{trained}/{corruption}.csv",
        predictions="results/{experiment}/scores/{dataset}/{system}/{regime}/trained_{trained}/{corruption}_predictions.csv.gz",
    log:
        "results/logs/{experiment}/scores/{dataset}/{system}/{regime}/trained_{trained}/{corruption}.log",
    benchmark:
        "results/benchmarks/{experiment}/scores/{dataset}/{system}/{regime}/trained_{trained}/{corruption}.tsv"
    wildcard_constraints:
        regime="incomplete|all_noisy",
        system=plan.named(plan.trained_systems),


# Reference rows are trained and tested in one job, which takes seconds on a CPU.
rule fit_reference:
    input:
        features=ancient("results/features/{dataset}.h5"),
        noisy=ancient("results/noisy/{dataset}/{corruption}.h5"),
        digests=lambda w: plan.digests(
            [plan.features(w.dataset), plan.noisy(w.dataset, w.corruption)]
        ),
    output:
        scores="results/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.csv",
        predictions="results/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}_predictions.csv.gz",
    log:
        "results/logs/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.log",
    benchmark:
        "results/benchmarks/{experiment}/scores/{dataset}/{system}/{regime}/{corruption}.tsv"
    wildcard_constraints:
        regime="incomplete|all_noisy",
        system=plan.named(plan.reference_systems),
    conda:
        "../../envs/light.yaml"
    threads: plan.threads
    resources:
        compute_threads=plan.threads,
        mem_mb=lambda w, attempt: plan.memory_mb(w, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.evaluation_settings(w),
        code=lambda w: plan.code("fit_reference.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/fit_reference.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --noisy {input.noisy:q} \
            --scores {output.scores:q} \
            --predictions {output.predictions:q} \
            --threads {resources.compute_threads} \
            >{log:q} 2>&1
        """


rule collect_scores:
    input:
        plan.scores(),
    output:
        "results/{experiment}/scores.csv",
    log:
        "results/logs/{experiment}/scores.log",
    benchmark:
        "results/benchmarks/{experiment}/scores.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        code=lambda w: plan.code("collect_scores.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/collect_scores.py \
            --code {params.code:q} \
            --scores {input:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """


rule find_chance:
    input:
        scores=plan.scores(),
        predictions=plan.all_predictions(),
    output:
        "results/{experiment}/statistics/chance.csv",
    log:
        "results/logs/{experiment}/statistics/chance.log",
    benchmark:
        "results/benchmarks/{experiment}/statistics/chance.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        code=lambda w: plan.code("find_chance.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/find_chance.py \
            --code {params.code:q} \
            --scores {input.scores:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """


rule compare_systems:
    input:
        scores=plan.shown_scores(),
        predictions=plan.predictions(),
        features=ancient(expand("results/features/{dataset}.h5", dataset=plan.datasets)),
        digests=plan.digests([plan.features(dataset) for dataset in plan.datasets]),
    output:
        multiext(
            "results/{experiment}/statistics/",
            "intervals.csv",
            "comparisons.csv",
            "ranks.csv",
            "confusion.csv",
        ),
        contributions="results/{experiment}/statistics/contributions.h5",
    log:
        "results/logs/{experiment}/statistics.log",
    benchmark:
        "results/benchmarks/{experiment}/statistics.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.scored_settings(),
        code=plan.code("compare_systems.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/compare_systems.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --features {input.features:q} \
            --output results/{wildcards.experiment:q}/statistics \
            >{log:q} 2>&1
        """
