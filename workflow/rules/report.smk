# Report: make tables in the paper's arrangement, figures with their data, and one page that contains them.


rule sizes_table:
    input:
        reports=expand("results/features/{dataset}.json", dataset=plan.datasets),
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
        **light,
    params:
        settings=lambda w: plan.table_settings(1),
        code=lambda w: plan.code("make_table.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/make_table.py \
            --code {params.code:q} \
            --table 1 \
            --settings {params.settings:q} \
            --reports {input.reports:q} \
            --reference "$NMER_HOME"/workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/table1 \
            >{log:q} 2>&1
        """


rule scores_table:
    input:
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
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
        table="[2-5]",
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        settings=lambda w: plan.table_settings(int(w.table)),
        code=lambda w: plan.code("make_table.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/make_table.py \
            --code {params.code:q} \
            --table {wildcards.table:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --reference "$NMER_HOME"/workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/table{wildcards.table:q} \
            >{log:q} 2>&1
        """


rule compare_with:
    input:
        scores=["results/{other}/scores.csv", "results/{experiment}/scores.csv"],
    output:
        multiext("results/{experiment}/tables/beside_{other}", ".csv", ".md"),
        html=report(
            "results/{experiment}/tables/beside_{other}.html",
            caption="../report/compared.rst",
            category="Tables",
            labels={"table": "Beside {other}"},
        ),
    log:
        "results/logs/{experiment}/tables/beside_{other}.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/beside_{other}.tsv"
    wildcard_constraints:
        other=plan.named(plan.compared()),
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        settings=lambda w: plan.compared_settings(w),
        code=plan.code("compare_with.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/compare_with.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --output-stem results/{wildcards.experiment:q}/tables/beside_{wildcards.other:q} \
            >{log:q} 2>&1
        """


rule levels_table:
    input:
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
    output:
        multiext("results/{experiment}/tables/levels", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/levels.html",
            caption="../report/levels_table.rst",
            category="Tables",
            labels={"table": "Levels"},
        ),
    log:
        "results/logs/{experiment}/tables/levels.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/levels.tsv"
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        settings=lambda w: plan.tables_settings(),
        code=plan.code("tabulate_levels.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/tabulate_levels.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --output-stem results/{wildcards.experiment:q}/tables/levels \
            >{log:q} 2>&1
        """


rule sweep_table:
    input:
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
        histories=plan.sweep_histories(),
    output:
        multiext("results/{experiment}/tables/sweep", ".csv", ".md", ".tex"),
        html=report(
            "results/{experiment}/tables/sweep.html",
            caption="../report/sweep_table.rst",
            category="Tables",
            labels={"table": "Sweep"},
        ),
    log:
        "results/logs/{experiment}/tables/sweep.log",
    benchmark:
        "results/benchmarks/{experiment}/tables/sweep.tsv"
    wildcard_constraints:
        experiment=plan.named([plan.name] if plan.sweep else []),
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        settings=lambda w: plan.sweep_settings(),
        code=plan.code("tabulate_sweep.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/tabulate_sweep.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --histories {input.histories:q} \
            --output-stem results/{wildcards.experiment:q}/tables/sweep \
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
        python "$NMER_HOME"/scripts/embed.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --features {input.features:q} \
            --noisy {input.noisy:q} \
            --points {output.points:q} \
            --distances {output.distances:q} \
            >{log:q} 2>&1
        """


rule draw_figure:
    input:
        lambda w: plan.figure_inputs(w),
    output:
        multiext("results/{experiment}/figures/{figure}", ".pdf", ".csv", ".json"),
        png=report(
            "results/{experiment}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: plan.figure_labels(w),
        ),
    log:
        "results/logs/{experiment}/figures/{figure}.log",
    benchmark:
        "results/benchmarks/{experiment}/figures/{figure}.tsv"
    wildcard_constraints:
        figure=plan.named(plan.drawings),
    conda:
        "../../envs/light.yaml"
    resources:
        **light,
    params:
        settings=lambda w: plan.figure_settings(w),
        sources=lambda w: plan.figure_arguments(w),
        caption=lambda w: plan.figure_caption(w),
        code=lambda w: plan.code("draw_figure.py", w),
    shell:
        """
        python "$NMER_HOME"/scripts/draw_figure.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            {params.sources:q} \
            --output-stem results/{wildcards.experiment:q}/figures/{wildcards.figure:q} \
            >{log:q} 2>&1
        """


rule audit_claims:
    input:
        contributions="results/{experiment}/statistics/contributions.h5",
        chance="results/{experiment}/statistics/chance.csv",
        distances=plan.distances(),
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
        **light,
    params:
        settings=lambda w: plan.scored_settings(table=4),
        code=plan.code("audit_claims.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/audit_claims.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --contributions {input.contributions:q} \
            --chance {input.chance:q} \
            --distances {input.distances:q} \
            --claims "$NMER_HOME"/workflow/reference/claims.toml \
            --reference "$NMER_HOME"/workflow/reference \
            --output-stem results/{wildcards.experiment:q}/tables/claims \
            >{log:q} 2>&1
        """


rule report:
    input:
        reports=expand("results/features/{dataset}.json", dataset=plan.datasets),
        calibration=expand("results/calibration/{dataset}.csv", dataset=plan.datasets),
        tables=expand(
            "{stem}{suffix}",
            stem=plan.all_table_stems(),
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
        compared=expand(
            "{stem}{suffix}",
            stem=plan.compared().values(),
            suffix=[".csv", ".html", ".md"],
        ),
        claims=multiext("results/{experiment}/tables/claims", ".csv", ".html", ".md"),
        histories=plan.all_histories(),
        scores="results/{experiment}/scores.csv",
        chance="results/{experiment}/statistics/chance.csv",
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
        **light,
    params:
        settings=lambda w: plan.report_settings(),
        tables=[str(stem) for stem in plan.all_table_stems()],
        figures=[str(stem) for stem in plan.figure_stems()],
        compared=[str(stem) for stem in plan.compared().values()],
        code=plan.code("render_report.py"),
    shell:
        """
        python "$NMER_HOME"/scripts/render_report.py \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --reports {input.reports:q} \
            --calibration {input.calibration:q} \
            --tables {params.tables:q} \
            --comparisons {input.comparisons:q} \
            --compared {params.compared:q} \
            --claims results/{wildcards.experiment:q}/tables/claims \
            --figures {params.figures:q} \
            --scores {input.scores:q} \
            --chance {input.chance:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """
