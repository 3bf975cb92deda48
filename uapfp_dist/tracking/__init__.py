"""Results shown in a tracker. Only the modules `mlflow_*` import MLflow."""
