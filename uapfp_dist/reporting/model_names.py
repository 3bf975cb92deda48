"""What roles and groups of models are called where a person reads.

Files and tables of numbers keep the paper's words: piracy for stolen models, homologous for independent ones.
"""

from collections.abc import Mapping

from uapfp_dist.evaluation.judging import Group

ROLES: Mapping[str, str] = {
    "piracy": "stolen",
    "soft_piracy": "stolen, soft labels",
    "homologous": "independent",
    "calibration": "independent (calibration)",
    "calibration_piracy": "of others (calibration)",
    "same_data": "independent, same images",
    "other_victim_piracy": "stolen from another victim",
    "sibling_piracy": "stolen from a sibling",
    "victim": "victim",
    "other_victim": "another victim",
    "other_architecture": "independent, unseen kind of net",
    "second_hand_piracy": "stolen from a stolen model",
    "mixed_piracy": "stolen, true labels mixed in",
    "relabelled_piracy": "stolen, labels changed",
    "relabelled_homologous": "independent, labels changed",
    "checkpoint_piracy": "stolen, during the theft",
    "overlap_homologous": "independent, chosen overlap",
    "modified_victim": "victim, modified",
    "modified_piracy": "stolen, modified",
    "modified_homologous": "independent, modified",
}
"""A model's role, in legends and tables; `calibration` are the independent models that calibrate."""

NEGATIVES: Mapping[str, str] = {
    **ROLES,
    "other_victim": ROLES["other_victim_piracy"],
    "sibling": ROLES["sibling_piracy"],
}
"""The same where groups of negatives stand among roles."""

GROUPS: Mapping[str, str] = {
    "homologous": "independent models",
    "other_victim": "models stolen from another victim",
    "same_data": "independent models trained on the victim's images",
    "sibling": "models stolen from a sibling of the victim",
    "piracy": "models stolen from the victim",
}
"""A group of models, in sentences."""

COLUMNS: Mapping[Group, str] = {
    "homologous": "independent",
    "other_victim": "of another victim",
    "same_data": "same images",
    "sibling": "of a sibling",
}
"""A group of negatives, at the head of a column or row."""
