"""The schema of a Kubernetes resource as JSON Schema: as strictly as a server that refuses unknown fields."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

RULES = "x-kubernetes-validations"
"""Rules in Kubernetes' own language, which are not JSON Schema."""


def published_schema(file: Path, version: str) -> dict[str, Any]:
    """What a custom resource definition says of one version, closed: fields that it does not name are errors.

    Args:
        file: the definition, as published.
        version: such as v1.
    """
    definition = yaml.load(file.read_text(), yaml.CSafeLoader)
    (found,) = [one for one in definition["spec"]["versions"] if one["name"] == version]
    assert found["served"]
    schema = closed(found["schema"]["openAPIV3Schema"])
    names = definition["spec"]["names"]
    schema["properties"] |= {
        "apiVersion": {"const": f"{definition['spec']['group']}/{version}"},
        "kind": {"const": names["kind"]},
        "metadata": {"type": "object", "required": ["name"]},
    }
    return schema | {"required": ["apiVersion", "kind", "metadata", "spec"]}


def closed(node: Any) -> Any:
    """A schema whose objects have no fields but those it names; Kubernetes' keywords in those of JSON Schema."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: closed(value) for key, value in node.items()}
    is_object = node.get("type") == "object" and isinstance(node.get("properties"), dict)
    if is_object and not node.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if node.get("nullable"):
        made["type"] = [node["type"], "null"]
    return made


def rules_that_apply(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """The rules of a schema that hold for a value: they would have to be read by a person.

    Args:
        schema: in JSON Schema.
        value: that it is to describe.
    """
    for rule in schema.get(RULES, ()):
        yield rule["rule"]
    if isinstance(value, list):
        for one in value:
            yield from rules_that_apply(schema.get("items", {}), one)
    elif isinstance(value, dict):
        others = schema.get("additionalProperties") or {}
        for key, one in value.items():
            yield from rules_that_apply(schema.get("properties", {}).get(key, others), one)
