"""The science: tensors in, tensors out. Knows no Ray, no MLflow, no clock and no global random state."""
