"""Which science, in what order. Knows no Ray and no MLflow."""
