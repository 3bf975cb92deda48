"""From answers to fingerprints to scores."""
