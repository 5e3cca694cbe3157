"""Make tables, figures and the report from scores and noisy embeddings. Does not train or corrupt."""
