"""Tasks: what is to be made, as values; their ids; when each is performed."""
