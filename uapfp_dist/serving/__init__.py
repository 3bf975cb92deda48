"""Models of a kit's zoo, served behind an API, to rehearse a verification."""
