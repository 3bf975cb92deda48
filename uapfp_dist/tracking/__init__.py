"""Results shown in a tracker. Only `mlflow_tracker` imports MLflow."""
