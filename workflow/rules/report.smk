# Report: tables in the paper's arrangement, figures with their data, and one page that shows them all.


rule sizes_table:
    input:
        reports=expand("results/features/{dataset}.json", dataset=plan.datasets),
        paper=ancient("workflow/reference/paper_table1.csv"),
    output:
        multiext("results/{experiment}/tables/table1", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/table1.html",
            caption="../report/sizes_table.rst",
            category="Tables",
            labels={"table": "Table 1"},
        ),
    log:
        "results/logs/{experiment}/tables/table1.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/table1.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=lambda w: plan.code("make_table.py", w),
    shell:
        """
        python scripts/make_table.py \
            --code {params.code:q} \
            --table 1 \
            --settings {params.settings:q} \
            --reports {input.reports:q} \
            --reference workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/table1 \
            >{log:q} 2>&1
        """


rule scores_table:
    input:
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
        paper=ancient("workflow/reference/paper_table{table}.csv"),
    output:
        multiext("results/{experiment}/tables/table{table}", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/table{table}.html",
            caption="../report/scores_table.rst",
            category="Tables",
            labels={"table": "Table {table}"},
        ),
    log:
        "results/logs/{experiment}/tables/table{table}.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/table{table}.tsv"
    wildcard_constraints:
        table="[2-9]",
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(int(w.table)),
        code=lambda w: plan.code("make_table.py", w),
    shell:
        """
        python scripts/make_table.py \
            --code {params.code:q} \
            --table {wildcards.table:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --reference workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/table{wildcards.table:q} \
            >{log:q} 2>&1
        """


rule embed:
    input:
        features=ancient("results/features/{dataset}.h5"),
        noisy=ancient("results/noisy/{dataset}/{corruption}.h5"),
        digests=lambda w: plan.digests(
            [plan.features(w.dataset), plan.noisy(w.dataset, w.corruption)]
        ),
    output:
        points="results/{experiment}/embeddings/{dataset}/{corruption}_points.csv",
        distances="results/{experiment}/embeddings/{dataset}/{corruption}_distances.csv",
    log:
        "results/logs/{experiment}/embeddings/{dataset}/{corruption}.log",
    benchmark:
        "results/benchmarks/{experiment}/embeddings/{dataset}/{corruption}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: plan.memory_mb(w, attempt),
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=lambda w: plan.embedding_settings(w),
        code=plan.code("embed.py"),
    shell:
        """
        python scripts/embed.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --noisy {input.noisy:q} \
            --points {output.points:q} \
            --distances {output.distances:q} \
            >{log:q} 2>&1
        """


rule draw_figure3:
    input:
        points=lambda w: [f"{stem}_points.csv" for stem in plan.panels(w.dataset)],
        distances=lambda w: [f"{stem}_distances.csv" for stem in plan.panels(w.dataset)],
    output:
        multiext("results/{experiment}/figures/figure3_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/figure3_{dataset}.png",
            caption="../report/figure3.rst",
            category="Figures",
            labels={"figure": "Figure 3", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/figure3_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/figure3_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        code=plan.code("draw_figure3.py"),
    shell:
        """
        python scripts/draw_figure3.py \
            --code {params.code:q} \
            --points {input.points:q} \
            --distances {input.distances:q} \
            --output-stem results/{wildcards.experiment:q}/figures/figure3_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule draw_robustness:
    input:
        intervals="results/{experiment}/statistics/intervals.csv",
        chance="results/{experiment}/statistics/chance.csv",
    output:
        multiext("results/{experiment}/figures/robustness", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/robustness.png",
            caption="../report/robustness.rst",
            category="Figures",
            labels={"figure": "Robustness", "dataset": "all"},
        ),
    log:
        "results/logs/{experiment}/figures/robustness.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/robustness.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("draw_robustness.py"),
    shell:
        """
        python scripts/draw_robustness.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --intervals {input.intervals:q} \
            --chance {input.chance:q} \
            --output-stem results/{wildcards.experiment:q}/figures/robustness \
            >{log:q} 2>&1
        """


rule draw_ranks:
    input:
        ranks="results/{experiment}/statistics/ranks.csv",
    output:
        multiext("results/{experiment}/figures/ranks", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/ranks.png",
            caption="../report/ranks.rst",
            category="Figures",
            labels={"figure": "Ranks", "dataset": "all"},
        ),
    log:
        "results/logs/{experiment}/figures/ranks.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/ranks.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        code=plan.code("draw_ranks.py"),
    shell:
        """
        python scripts/draw_ranks.py \
            --code {params.code:q} \
            --ranks {input.ranks:q} \
            --output-stem results/{wildcards.experiment:q}/figures/ranks \
            >{log:q} 2>&1
        """


rule draw_conditions:
    input:
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
    output:
        multiext("results/{experiment}/figures/conditions_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/conditions_{dataset}.png",
            caption="../report/conditions.rst",
            category="Figures",
            labels={"figure": "Conditions", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/conditions_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/conditions_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("draw_conditions.py"),
    shell:
        """
        python scripts/draw_conditions.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --dataset {wildcards.dataset:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --output-stem results/{wildcards.experiment:q}/figures/conditions_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule draw_confusion:
    input:
        confusion="results/{experiment}/statistics/confusion.csv",
    output:
        multiext("results/{experiment}/figures/confusion_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/confusion_{dataset}.png",
            caption="../report/confusion.rst",
            category="Figures",
            labels={"figure": "Confusion", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/confusion_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/confusion_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("draw_confusion.py"),
    shell:
        """
        python scripts/draw_confusion.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --dataset {wildcards.dataset:q} \
            --confusion {input.confusion:q} \
            --output-stem results/{wildcards.experiment:q}/figures/confusion_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule draw_recall:
    input:
        confusion="results/{experiment}/statistics/confusion.csv",
    output:
        multiext("results/{experiment}/figures/recall_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/recall_{dataset}.png",
            caption="../report/recall.rst",
            category="Figures",
            labels={"figure": "Recall per class", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/recall_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/recall_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("draw_recall.py"),
    shell:
        """
        python scripts/draw_recall.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --dataset {wildcards.dataset:q} \
            --confusion {input.confusion:q} \
            --output-stem results/{wildcards.experiment:q}/figures/recall_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule draw_training:
    input:
        histories=lambda w: plan.histories(w.dataset),
        chance="results/{experiment}/statistics/chance.csv",
    output:
        multiext("results/{experiment}/figures/training_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/training_{dataset}.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"figure": "Training", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/training_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/training_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("draw_training.py"),
    shell:
        """
        python scripts/draw_training.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --dataset {wildcards.dataset:q} \
            --histories {input.histories:q} \
            --chance {input.chance:q} \
            --output-stem results/{wildcards.experiment:q}/figures/training_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule draw_calibration:
    input:
        calibration="results/calibration/{dataset}.csv",
    output:
        multiext("results/{experiment}/figures/calibration_{dataset}", ".pdf", ".csv"),
        png=report(
            "results/{experiment}/figures/calibration_{dataset}.png",
            caption="../report/calibration.rst",
            category="Figures",
            labels={"figure": "Calibration", "dataset": "{dataset}"},
        ),
    log:
        "results/logs/{experiment}/figures/calibration_{dataset}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/calibration_{dataset}.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        schedule=lambda w: plan.schedule_settings(),
        code=plan.code("draw_calibration.py"),
    shell:
        """
        python scripts/draw_calibration.py \
            --code {params.code:q} \
            --schedule {params.schedule:q} \
            --calibration {input.calibration:q} \
            --output-stem results/{wildcards.experiment:q}/figures/calibration_{wildcards.dataset:q} \
            >{log:q} 2>&1
        """


rule audit_claims:
    input:
        replicates="results/{experiment}/statistics/replicates.h5",
        chance="results/{experiment}/statistics/chance.csv",
        distances=plan.distances(),
        claims=ancient("workflow/reference/claims.toml"),
        paper=ancient(
            expand("workflow/reference/paper_table{table}.csv", table=range(2, 6))
        ),
    output:
        multiext("results/{experiment}/tables/claims", ".csv", ".md"),
        html=report(
            "results/{experiment}/tables/claims.html",
            caption="../report/claims.rst",
            category="Tables",
            labels={"table": "Claims"},
        ),
    log:
        "results/logs/{experiment}/tables/claims.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/claims.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.tables_settings(table=4),
        code=plan.code("audit_claims.py"),
    shell:
        """
        python scripts/audit_claims.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --replicates {input.replicates:q} \
            --chance {input.chance:q} \
            --distances {input.distances:q} \
            --claims {input.claims:q} \
            --reference workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/claims \
            >{log:q} 2>&1
        """


rule report:
    input:
        reports=expand("results/features/{dataset}.json", dataset=plan.datasets),
        calibration=expand("results/calibration/{dataset}.csv", dataset=plan.datasets),
        tables=expand(
            "{stem}{suffix}",
            stem=plan.table_stems(),
            suffix=[".csv", ".html", ".md", ".tex"],
        ),
        figures=expand(
            "{stem}{suffix}", stem=plan.figure_stems(), suffix=[".csv", ".pdf", ".png"]
        ),
        statistics=multiext(
            "results/{experiment}/statistics/",
            "intervals.csv",
            "ranks.csv",
            "confusion.csv",
        ),
        comparisons="results/{experiment}/statistics/comparisons.csv",
        claims=multiext("results/{experiment}/tables/claims", ".csv", ".html", ".md"),
        histories=plan.all_histories(),
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
        template=ancient("scripts/nmer/results/report.html.j2"),
    output:
        report(
            "results/{experiment}/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "Whole experiment"},
        ),
    log:
        "results/logs/{experiment}/report.log",
    benchmark:
        "results/benchmarks/{experiment}/report.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        mem_mb=lambda w, attempt: 1000 * attempt,
        runtime=lambda w, attempt: 20 * attempt,
    params:
        settings=lambda w: plan.report_settings(),
        tables=[str(stem) for stem in plan.table_stems()],
        figures=[str(stem) for stem in plan.figure_stems()],
        code=plan.code("render_report.py"),
    shell:
        """
        python scripts/render_report.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --reports {input.reports:q} \
            --calibration {input.calibration:q} \
            --tables {params.tables:q} \
            --comparisons {input.comparisons:q} \
            --claims results/{wildcards.experiment:q}/tables/claims \
            --figures {params.figures:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """
