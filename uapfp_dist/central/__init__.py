"""The central process of a run: hears every outcome, judges, and alone writes to the tracker."""
