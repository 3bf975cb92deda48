"""Models of a kit's zoo, served as a stranger would serve them, to try a verification on."""
