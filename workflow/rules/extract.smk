# Extraction: extract features from raw media, one job per modality and chunk of utterances, and join them to one corpus.
# A chunk's job lists the utterances itself: with the list as an input, any change of it would make every chunk due.


wildcard_constraints:
    modality="[avl]",
    chunk=r"\d+",


rule generate_media:
    output:
        media=directory("results/media/{dataset}"),
        digest="results/media/{dataset}.sha256",
    log:
        "results/logs/media/{dataset}.log",
    benchmark:
        "results/benchmarks/media/{dataset}.tsv"
    wildcard_constraints:
        dataset=plan.named(plan.generated_media),
    conda:
        "../../envs/extract.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.media_settings(w),
        code=lambda w: plan.code("generate_media.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/generate_media.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --output {output.media:q} \
            >{log:q} 2>&1
        """


rule extract_list:
    input:
        lambda w: plan.media_inputs(w),
    output:
        utterances="results/extracted/{dataset}/utterances.csv",
        summary="results/extracted/{dataset}/list.json",
    log:
        "results/logs/extracted/{dataset}/list.log",
    benchmark:
        "results/benchmarks/extracted/{dataset}/list.tsv"
    wildcard_constraints:
        dataset=plan.named(plan.raw_datasets),
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        settings=lambda w: plan.list_settings(w),
        root=lambda w: str(plan.raw(w.dataset).root),
        memory=lambda w: str(plan.raw(w.dataset).memory),
        code=lambda w: plan.code("extract_list.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/extract_list.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --root {params.root:q} \
            --memory {params.memory:q} \
            --utterances {output.utterances:q} \
            --summary {output.summary:q} \
            >{log:q} 2>&1
        """


rule extract:
    input:
        lambda w: plan.media_inputs(w),
    output:
        features="results/extracted/{dataset}/{modality}/{chunk}.h5",
        digest="results/extracted/{dataset}/{modality}/{chunk}.h5.sha256",
    log:
        "results/logs/extracted/{dataset}/{modality}/{chunk}.log",
    benchmark:
        "results/benchmarks/extracted/{dataset}/{modality}/{chunk}.tsv"
    wildcard_constraints:
        dataset=plan.named(plan.raw_datasets),
    conda:
        "../../envs/extract.yaml"
    resources:
        mem_mb=lambda w, attempt: plan.extraction_memory_mb(w, attempt),
        runtime=lambda w, attempt: plan.extraction_minutes(w, attempt),
    params:
        settings=lambda w: plan.extract_settings(w),
        root=lambda w: str(plan.raw(w.dataset).root),
        data=lambda w: str(plan.raw(w.dataset).models),
        cache="results/extracted/{dataset}/.cache/{modality}/{chunk}.h5",
        code=lambda w: plan.code("extract.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/extract.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --root {params.root:q} \
            --data {params.data:q} \
            --cache {params.cache:q} \
            --output {output.features:q} \
            >{log:q} 2>&1
        """


# A rule per dataset, because the number of output files is that of its modalities.
for joined in map(plan.wildcards_of, plan.raw_datasets):

    rule:
        name:
            f"extract_join_{joined.dataset}"
        input:
            utterances=f"results/extracted/{joined.dataset}/utterances.csv",
            summary=f"results/extracted/{joined.dataset}/list.json",
            chunks=ancient(plan.chunks(joined)),
            digests=plan.digests(plan.chunks(joined)),
        output:
            joined=plan.joined(joined),
            corpus=f"results/extracted/{joined.dataset}.h5",
            digest=f"results/extracted/{joined.dataset}.h5.sha256",
            report=f"results/extracted/{joined.dataset}.json",
        log:
            f"results/logs/extracted/{joined.dataset}/join.log",
        benchmark:
            f"results/benchmarks/extracted/{joined.dataset}/join.tsv"
        conda:
            "../../envs/light.yaml"
        resources:
            mem_mb=lambda w, attempt, joined=joined: plan.memory_mb(joined, attempt),
            runtime=lambda w, attempt: 30 * attempt,
        params:
            settings=lambda w, joined=joined: plan.join_settings(joined),
            code=plan.code("extract_join.py"),
        shell:
            """
            python "$NMER_HOME"/scripts/extract_join.py \
                --code {params.code:q} \
                --settings {params.settings:q} \
                --utterances {input.utterances:q} \
                --summary {input.summary:q} \
                --chunks {input.chunks:q} \
                --joined {output.joined:q} \
                --output {output.corpus:q} \
                --report {output.report:q} \
                >{log:q} 2>&1
            """
