"""What one test of a suspect is: known again by its id, added and decided once."""

from pathlib import Path

import pytest
from registers import SHA, begin, error_of, look

from uapfp_dist.verification.querying.records import Judged
from uapfp_dist.verification.querying.transcript import Transcript
from uapfp_dist.verification.register.records import id_of_test
from uapfp_dist.verification.register.register import Register


def test_a_test_is_known_again_when_it_is_resumed(tmp_path: Path) -> None:
    first = Transcript(tmp_path / "t", begin(max_queries=10))
    first.close()
    resumed = Transcript(tmp_path / "t", begin(max_queries=20))
    resumed.close()
    assert id_of_test(first.begin, 0) == id_of_test(resumed.begin, 0) == id_of_test(begin(max_queries=10), 0)


def test_what_determines_a_test_changes_its_id() -> None:
    others = [
        begin(),
        begin("other"),
        begin(at="https://elsewhere.example"),
        begin(kit="b" * 64),
        begin(seed=1),
        begin(max_queries=10),
        begin(judged=Judged(("thief",), 0.01)),
        begin(judged=Judged(("thief", "other"), 0.05)),
    ]
    ids = [id_of_test(one, index) for one in others for index in (0, 1)]
    assert len(set(ids)) == len(ids)


def test_the_id_of_a_test_is_frozen() -> None:
    assert id_of_test(begin(), 0) == "868a2fd5bfe13033418212340481f4730cc9f310c5e4eeed6c70bdd5f25e7362"


def test_the_same_test_adds_nothing(register: Register, path: Path) -> None:
    test = look(register, "thief", "shop", p=0.01)
    before, head = path.read_bytes(), register.head
    assert register.reserve(begin("thief"), "Shop", 0).p_value == 0.01
    assert register.decide(test, 0.01, "hard", SHA, "piracy").decided.claim == "inconclusive"  # type: ignore[union-attr]
    assert path.read_bytes() == before
    assert register.head == head


@pytest.mark.parametrize("other", [(0.02, "hard", SHA), (0.01, "prob", SHA), (0.01, "hard", "6" * 64)])
def test_a_test_is_decided_once(register: Register, path: Path, other: tuple[float, str, str]) -> None:
    test = look(register, "thief", "shop", p=0.01)
    before = path.read_bytes()
    assert "a test is decided once" in error_of(lambda: register.decide(test, *other, "piracy"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_p_value_is_not_written(register: Register, path: Path, p: float) -> None:
    test = look(register, "thief", "shop")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="p_value"):
        register.decide(test, p, "hard", SHA, "piracy")
    with pytest.raises(ValueError, match="never reserved"):
        register.decide("9" * 64, 0.5, "hard", SHA, "piracy")
    with pytest.raises(ValueError, match="a test of kit"):
        register.reserve(begin(kit="b" * 64), "shop", 0)
    assert path.read_bytes() == before
