"""The central process of a run: receives every outcome, judges, and alone writes to the tracker."""
