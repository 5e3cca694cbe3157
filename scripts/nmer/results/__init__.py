"""From scores and noisy embeddings to tables, figures and the report; nothing here trains or corrupts."""
