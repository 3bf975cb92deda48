"""`python -m uapfp_dist.cli`, where the script `uapfp` is not installed."""

from uapfp_dist.cli.main import main

if __name__ == "__main__":
    main()
