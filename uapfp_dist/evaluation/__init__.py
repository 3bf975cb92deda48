"""From a configuration to its plan, and from responses to judgements. Knows no Ray and no MLflow."""
