"""The command `uapfp`: one file per subcommand, which parses, calls the package and prints."""
