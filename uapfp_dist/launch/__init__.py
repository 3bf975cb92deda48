"""One file per command: from its configuration to its result, in this process or on Ray."""
