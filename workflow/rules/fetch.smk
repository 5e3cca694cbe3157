# Fetching: `snakemake fetch_<dataset>`, for every dataset with `download` in its configuration.
# The files are not declared as outputs, because Snakemake deletes outputs of a failed job, including partial downloads.
# The step shows progress in the terminal, so it writes the log itself.

for fetched in plan.downloads:

    rule:
        name:
            f"fetch_{fetched}"
        log:
            f"results/logs/fetch/{fetched}.log",
        localrule: True
        conda:
            "../../envs/light.yaml"
        params:
            settings=lambda w, fetched=fetched: plan.fetch_settings(fetched),
            folder=lambda w: plan.data,
            code=plan.code("fetch_corpus.py"),
        shell:
            """
            python "$NMER_HOME"/scripts/fetch_corpus.py \
                --code {params.code:q} \
                --settings {params.settings:q} \
                --folder {params.folder:q} \
                --log {log:q}
            """
