"""File names in lines of text: a name that would break the line, or hide in it, is quoted."""

import json


def shown(name: object) -> str:
    """`name` itself where it is plain text, else as a JSON string: on one line, and `read_name` gives it back."""
    text = str(name)
    plain = text.isprintable() and text == text.strip() and not text.startswith('"')
    return text if plain else json.dumps(text)


def read_name(text: str) -> str:
    """The name that `shown` wrote; other text stays as it is."""
    try:
        found = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return text
    return found if isinstance(found, str) else text
