"""Exact copies among a user's images: a model may train on one and be judged by the other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uapfp_dist.data.imagefolder import load_imagefolder


def test_exact_copies_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under other names, in another class or file format: by their pixels. They stay."""
    monkeypatch.setenv("UAPFP_CACHE", str(tmp_path / "cache"))
    rng, root = np.random.default_rng(0), tmp_path / "images"
    for name in ("cats", "dogs"):
        (root / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    assert not any("copies" in fact for fact in load_imagefolder(root).facts)
    for copy in ("cats/a.png", "dogs/b.bmp"):
        Image.open(root / "cats" / "0.png").save(root / copy)
    for _ in ("decoded", "from the cache"):
        found = load_imagefolder(root)
        assert len(found.labels) == 22
        said = "exact copies of other images, kept: a model may train on one and be judged by the other: 2 ("
        assert any(said in fact for fact in found.facts)
        assert "2 exact copies" in found.note
