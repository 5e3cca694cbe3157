# Features: convert raw files, supplied or generated, to one validated feature store per dataset.


rule generate_corpus:
    output:
        corpus=directory("results/corpora/{dataset}"),
        digest="results/corpora/{dataset}.sha256",
    log:
        "results/logs/corpora/{dataset}.log",
    benchmark:
        "results/benchmarks/corpora/{dataset}.tsv"
    wildcard_constraints:
        dataset=plan.named(plan.generated_datasets),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 30 * attempt,
    params:
        settings=lambda w: plan.corpus_settings(w),
        code=lambda w: plan.code("generate_corpus.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/generate_corpus.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --output {output.corpus:q} \
            >{log:q} 2>&1
        """


rule build_features:
    input:
        source=lambda w: ancient(plan.corpus_inputs(w)["source"]),
        digest=lambda w: plan.corpus_inputs(w)["digest"],
    output:
        features="results/features/{dataset}.h5",
        digest="results/features/{dataset}.h5.sha256",
        report="results/features/{dataset}.json",
    log:
        "results/logs/features/{dataset}.log",
    benchmark:
        "results/benchmarks/features/{dataset}.tsv"
    wildcard_constraints:
        dataset=plan.named(plan.readable_datasets),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: plan.memory_mb(w, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.features_settings(w),
        source=lambda w: str(plan.source(w)),
        content=lambda w: plan.source_digest(w),
        code=lambda w: plan.code("build_features.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/build_features.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --source {params.source:q} \
            --output {output.features:q} \
            --report {output.report:q} \
            >{log:q} 2>&1
        """
