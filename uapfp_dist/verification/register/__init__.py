"""The register of a kit: every suspect that was ever queried with it, by which set of points, with which result."""
