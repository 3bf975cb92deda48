"""What the shortcuts in speed are worth, as ratios: a file per part, and one that runs them."""
