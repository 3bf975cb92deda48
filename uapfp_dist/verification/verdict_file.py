"""The published form of verdict.json (JSON Schema, draft 2020-12)."""

from typing import Any

SCHEMA_VERSION = 1

_RATE = {"type": "number", "minimum": 0, "maximum": 1}
_NUMBER_OR_NULL = {"type": ["number", "null"]}
_RATE_OR_NULL = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

_SUSPECT: dict[str, Any] = {
    "name": {"type": "string"},
    "claim": {"enum": ["piracy", "inconclusive", "cannot decide at this alpha"]},
    "p_value": {**_RATE, "description": "conformal, over models, by the method that decides"},
    "p_adjusted": {**_RATE, "description": "after Holm's correction over the suspects judged together"},
    "alpha": _RATE,
    "decided_by": {"enum": ["uap", "weighted_errors"]},
    "decided_because": {"type": "string"},
    "similarity": {**_NUMBER_OR_NULL, "description": "mean over views of the cosine to the victim"},
    "similarity_std": _NUMBER_OR_NULL,
    "p_value_uap": _RATE_OR_NULL,
    "weighted_errors": {**_NUMBER_OR_NULL, "description": "log odds of piracy"},
    "p_value_weighted_errors": _RATE_OR_NULL,
    "p_value_t_test": {**_RATE_OR_NULL, "description": "the paper's statistic: printed, never used"},
    "queries": {**_COUNT, "description": "images answered"},
    "queries_sent": {**_COUNT, "description": "images sent, tries without an answer counted"},
    "failed_requests": _COUNT,
    "agreement_clean": _RATE_OR_NULL,
    "power": {"type": "object", "additionalProperties": {"type": "object", "required": ["caught", "of"]}},
    "calibration": {"type": "object", "additionalProperties": _COUNT},
    "not_calibrated_against": _TEXTS,
    "findings": {**_TEXTS, "description": "why the answers are not, or not quite, those of a trained classifier"},
    "limits": _TEXTS,
    "scores": {"type": "object", "additionalProperties": {"type": "array", "items": _NUMBER_OR_NULL}},
    "format": {"type": "string", "pattern": "^(prob|hard|top[1-9][0-9]*)$"},
    "asked_as": {"type": "object", "required": ["name", "at", "kind", "output"]},
    "transcript_sha256": _DIGEST,
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Verdict on one or more suspects",
    "type": "object",
    "properties": {
        "schema": {"const": SCHEMA_VERSION},
        "kit": {**_DIGEST, "description": "digest of the kit: the commitment"},
        "suspects": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "properties": _SUSPECT, "required": sorted(_SUSPECT)},
        },
    },
    "required": ["schema", "kit", "suspects"],
}
"""What verdict.json holds. Further keys may come; these stay."""
