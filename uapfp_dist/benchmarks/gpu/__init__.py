"""What a GPU is worth here: a file per part, each in a process of its own until its deadline."""
