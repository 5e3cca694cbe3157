# Training: stage-A teachers on clean data, then every system; one job per fold trains all repeats.
# These jobs have priority because they take most of the time; figures fill the gaps.
# Large files are tracked by their digest files, so that a touched or equal remade file retrains nothing.


# A user-defined system is tested on random batches before it is trained.
rule check_system:
    output:
        "results/{experiment}/checks/{system}.txt",
    log:
        "results/logs/{experiment}/checks/{system}.log",
    benchmark:
        "results/benchmarks/{experiment}/checks/{system}.tsv"
    wildcard_constraints:
        system=plan.named([*plan.trained_names, *plan.pretrained_names]),
    priority: 2
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=lambda w, attempt: 2000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.check_settings(w),
        code=lambda w: plan.code("check_system.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/check_system.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """


rule train:
    input:
        check=lambda w: plan.check(w),
        features=ancient("results/features/{dataset}.h5"),
        noisy=ancient("results/noisy/{dataset}/{corruption}.h5"),
        teacher=lambda w: ancient(plan.teacher(w)),
        digests=lambda w: plan.digests(
            [
                plan.features(w.dataset),
                plan.noisy(w.dataset, w.corruption),
                *plan.teacher(w),
            ]
        ),
    output:
        model=kept(
            "results/{experiment}/runs/{dataset}/{system}/{regime}/{corruption}/fold{fold}/model.safetensors"
        ),
        digest="results/{experiment}/runs/{dataset}/{system}/{regime}/{corruption}/fold{fold}/model.safetensors.sha256",
        history="results/{experiment}/runs/{dataset}/{system}/{regime}/{corruption}/fold{fold}/history.csv",
    log:
        "results/logs/{experiment}/runs/{dataset}/{system}/{regime}/{corruption}/fold{fold}.log",
    benchmark:
        "results/benchmarks/{experiment}/runs/{dataset}/{system}/{regime}/{corruption}/fold{fold}.tsv"
    wildcard_constraints:
        system=plan.named(plan.trained_names),
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: plan.threads
    resources:
        gpu=lambda w: plan.gpus(w.dataset),
        compute_threads=plan.threads,
        mem_mb=lambda w, attempt: plan.memory_mb(w, attempt),
        runtime=lambda w, attempt: 240 * attempt,
    params:
        settings=lambda w: plan.training_settings(w),
        code=lambda w: plan.code("train.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/train.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --noisy {input.noisy:q} \
            --teacher {input.teacher:q} \
            --model {output.model:q} \
            --history {output.history:q} \
            --checkpoints results/{wildcards.experiment:q}/checkpoints \
            --threads {resources.compute_threads} \
            --gpus {resources.gpu} \
            >{log:q} 2>&1
        """


# Trainings that are tested at several levels: trained at one level, on mixed levels, or without noise (SPEC 15).
use rule train as train_elsewhere with:
    input:
        check=lambda w: plan.check(w),
        features=ancient("results/features/{dataset}.h5"),
        noisy=lambda w: ancient(plan.training_noise(w)),
        teacher=lambda w: ancient(plan.teacher(w)),
        digests=lambda w: plan.digests(
            [plan.features(w.dataset), *plan.training_noise(w), *plan.teacher(w)]
        ),
    output:
        model=kept(
            "results/{experiment}/runs/{dataset}/{system}/{regime}/trained_{trained}/fold{fold}/model.safetensors"
        ),
        digest="results/{experiment}/runs/{dataset}/{system}/{regime}/trained_{trained}/fold{fold}/model.safetensors.sha256",
        history="results/{experiment}/runs/{dataset}/{system}/{regime}/trained_{trained}/fold{fold}/history.csv",
    log:
        "results/logs/{experiment}/runs/{dataset}/{system}/{regime}/trained_{trained}/fold{fold}.log",
    benchmark:
        "results/benchmarks/{experiment}/runs/{dataset}/{system}/{regime}/trained_{trained}/fold{fold}.tsv"
    wildcard_constraints:
        system=plan.named(plan.trained_names),


# Trained on clean data, without a teacher.
use rule train as pretrain with:
    input:
        check=lambda w: plan.check(w),
        features=ancient("results/features/{dataset}.h5"),
        noisy=[],
        teacher=[],
        digests="results/features/{dataset}.h5.sha256",
    output:
        model="results/{experiment}/teachers/{dataset}/{stage}/fold{fold}/model.safetensors",
        digest="results/{experiment}/teachers/{dataset}/{stage}/fold{fold}/model.safetensors.sha256",
        history="results/{experiment}/teachers/{dataset}/{stage}/fold{fold}/history.csv",
    log:
        "results/logs/{experiment}/teachers/{dataset}/{stage}/fold{fold}.log",
    benchmark:
        "results/benchmarks/{experiment}/teachers/{dataset}/{stage}/fold{fold}.tsv"
    wildcard_constraints:
        stage=plan.named(plan.pretrained_names),


use rule pretrain as train_clean with:
    output:
        model="results/{experiment}/runs/{dataset}/{system}/clean/fold{fold}/model.safetensors",
        digest="results/{experiment}/runs/{dataset}/{system}/clean/fold{fold}/model.safetensors.sha256",
        history="results/{experiment}/runs/{dataset}/{system}/clean/fold{fold}/history.csv",
    log:
        "results/logs/{experiment}/runs/{dataset}/{system}/clean/fold{fold}.log",
    benchmark:
        "results/benchmarks/{experiment}/runs/{dataset}/{system}/clean/fold{fold}.tsv"
    wildcard_constraints:
        system=plan.named(plan.trained_names),
