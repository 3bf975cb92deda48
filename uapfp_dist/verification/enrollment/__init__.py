"""From a victim to its kit."""
