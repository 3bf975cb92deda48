"""Counts of what was done to files, or of files left out, with examples by name."""

from uapfp_dist.data.file_names import shown

EXAMPLES = 2


class Tally:
    """Kind to its number, and to the names of the first of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}

    def add(self, kind: str, name: object, n: int = 1) -> None:
        """Count `n` more of this kind; `name` is one of them."""
        count, names = self._found.get(kind, (0, []))
        self._found[kind] = (count + n, [*names, shown(name)] if len(names) < EXAMPLES else names)

    def __getitem__(self, kind: str) -> int:
        return self._found.get(kind, (0, []))[0]

    def __len__(self) -> int:
        return len(self._found)

    def lines(self) -> list[str]:
        """A line for each kind: its number and examples."""
        return [
            f"{kind}: {n} ({', '.join(names)}{', ...' if n > len(names) else ''})"
            for kind, (n, names) in self._found.items()
        ]
