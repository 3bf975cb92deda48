"""Query a suspect, and keep the transcript."""
