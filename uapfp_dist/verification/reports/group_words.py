"""Words and roles of what figures and tables of a verdict show."""

ROLES = {
    "homologous": "calibration",
    "same_data": "same_data",
    "other_victim": "other_victim",
    "sibling": "sibling",
    "piracy": "piracy",
}
"""A kit's groups to the roles that figures have colours for."""

SCORE_WORDS = {
    "uap": "similarity to the victim (mean cosine)",
    "weighted_errors": "evidence from the victim's errors (log odds)",
    "churn": "share of images with the victim's label",
    "weighted_churn": "evidence from the victim's own labels (log odds)",
}
