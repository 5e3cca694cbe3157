# NMER: from multimodal emotion features to the tables and figures of arXiv 2311.16114. The workflow is in workflow/.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file sets no default target
