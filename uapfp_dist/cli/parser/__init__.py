"""What all subcommands share: a dataclass is the command line, its docstrings are the help."""
