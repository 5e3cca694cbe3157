# Noise: calibrate every modality to a target SNR, and make the noisy embeddings that all folds share.


rule calibrate:
    input:
        features=ancient("results/features/{dataset}.h5"),
        digest="results/features/{dataset}.h5.sha256",
    output:
        "results/calibration/{dataset}/{corruption}.csv",
    log:
        "results/logs/calibration/{dataset}/{corruption}.log",
    benchmark:
        "results/benchmarks/calibration/{dataset}/{corruption}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 30 * attempt,
    params:
        settings=lambda w: plan.calibration_settings(w),
        code=lambda w: plan.code("calibrate.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/calibrate.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """


rule corrupt:
    input:
        features=ancient("results/features/{dataset}.h5"),
        digest="results/features/{dataset}.h5.sha256",
        calibration="results/calibration/{dataset}/{corruption}.csv",
    output:
        noisy=kept_noise("results/noisy/{dataset}/{corruption}.h5"),
        digest="results/noisy/{dataset}/{corruption}.h5.sha256",
        measured="results/noisy/{dataset}/{corruption}.csv",
    log:
        "results/logs/noisy/{dataset}/{corruption}.log",
    benchmark:
        "results/benchmarks/noisy/{dataset}/{corruption}.tsv"
    conda:
        "../../envs/light.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.corruption_settings(w),
        code=lambda w: plan.code("corrupt.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/corrupt.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --calibration {input.calibration:q} \
            --output {output.noisy:q} \
            --measured {output.measured:q} \
            --threads {threads} \
            >{log:q} 2>&1
        """


rule collect_calibration:
    input:
        calibrated=lambda w: expand(
            "results/calibration/{dataset}/{corruption}.csv",
            dataset=w.dataset,
            corruption=plan.corruptions_of(w.dataset),
        ),
        measured=lambda w: expand(
            "results/noisy/{dataset}/{corruption}.csv",
            dataset=w.dataset,
            corruption=plan.corruptions_of(w.dataset),
        ),
    output:
        "results/calibration/{dataset}.csv",
    log:
        "results/logs/calibration/{dataset}.log",
    benchmark:
        "results/benchmarks/calibration/{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        code=lambda w: plan.code("collect_calibration.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/collect_calibration.py \
            --code {params.code:q} \
            --calibrated {input.calibrated:q} \
            --measured {input.measured:q} \
            --output {output:q} \
            2>&1 | tee {log:q} >&2
        """
