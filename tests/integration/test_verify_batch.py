"""Several suspects at once: one error rate, and none of them holds up the others."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty_server as faults
import jsonschema
import pytest
from faulty_server import Exchange, serving
from toy_kit import negative, serve, toy_kit, trained
from toy_suspects import after_two, resets

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.verification.querying import session as query_session
from uapfp_dist.verification.querying.batch_size import FIRST_BATCH
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.querying.transcript_files import transcript_path
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_file import verdict_schema
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text
from uapfp_dist.verification.suspect_task import Interrupted
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_a_worker_lost_while_querying_holds_up_nobody(tmp_path: Path) -> None:
    """A worker that an endless file killed can note nothing: whoever waited for it does."""

    def dies(task: Any, suspects: Any) -> Any:
        return [Interrupted("its worker was lost", lost=True) if s.name == "big" else task(s) for s in suspects]

    with serving(serve(trained(0))) as good, serving(serve(trained(0))) as big:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("good", good), ("big", big))]
        cases = verify(toy_kit(), configs, tmp_path, alpha=0.2, map_tasks=dies)
        assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive"]
        assert "its worker was lost" in cases[1].stopped
        assert [case.verdict.claim for case in verify(toy_kit(), configs, tmp_path, alpha=0.2)] == ["piracy", "piracy"]


def test_several_suspects_share_one_error_rate(tmp_path: Path) -> None:
    kit = toy_kit()
    with serving(serve(trained(0))) as copied, serving(serve(negative())) as fair, serving(serve(trained(0))) as other:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("copied", copied), ("fair", fair), ("other", other))]
        with pytest.raises(UserError, match=r"at most 1 at alpha 0.05, got 3; .*nothing was sent"):
            verify(kit, configs, tmp_path)
        assert copied.requests == fair.requests == 0
        cases = verify(kit, configs, tmp_path, alpha=0.2)
    assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive", "piracy"]
    assert cases[0].verdict.p_adjusted == pytest.approx(3 * cases[0].verdict.p_value)
    paths = [transcript_path(tmp_path, config.name) for config in configs]
    assert [case.verdict for case in replay(kit, paths[::-1])] == [case.verdict for case in cases]
    with pytest.raises(UserError, match="all that were judged together"):
        replay(kit, paths[:1])


@pytest.mark.parametrize(
    ("fault", "said", "how"),
    [
        (faults.redirect_to("http://x/"), "redirect", QueryConfig()),
        (after_two(faults.redirect_to("http://x/")), "redirect", QueryConfig()),
        (after_two(resets), "requests in a row failed", QueryConfig(tries=2)),
        (after_two(resets), r"left \(max_queries\)", QueryConfig(max_queries=110)),
    ],
)
def test_one_suspect_that_cannot_be_queried_does_not_hold_up_the_others(
    fault: Any, said: str, how: QueryConfig, tmp_path: Path
) -> None:
    """They are judged as strictly as if it had answered; once it does, the same call finishes it and judges all."""
    kit, dead = toy_kit(), {"is": True}
    with (
        serving(serve(trained(0))) as good,
        serving(serve(negative())) as fair,
        serving(serve(trained(0)), lambda exchange: dead["is"] and fault(exchange)) as bad,
    ):
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("good", good), ("bad", bad), ("fair", fair))]
        cases = verify(kit, configs, tmp_path, how, alpha=0.2)
        again = verify(kit, configs, tmp_path, how, alpha=0.2)
        assert [case.verdict.claim for case in cases] == ["piracy", "inconclusive", "inconclusive"]
        assert [bool(case.stopped) for case in cases] == [False, True, False]
        assert cases[0].verdict.p_adjusted == pytest.approx(3 * cases[0].verdict.p_value)
        lost = cases[1].verdict
        assert (lost.p_value, lost.p_adjusted, lost.queries) == (1.0, 1.0, 0)
        assert lost.findings[0].startswith("not answered: ")
        assert re.search(said, lost.findings[0])
        assert [case.verdict.claim for case in again] == [case.verdict.claim for case in cases]
        asked, before = good.images + fair.images, bad.images
        dead["is"] = False
        done = verify(kit, configs, tmp_path, replace(how, max_queries=how.max_queries and 300), alpha=0.2)
        assert good.images + fair.images == asked
    assert [case.verdict.claim for case in done] == ["piracy", "piracy", "inconclusive"]
    assert not any(case.stopped for case in done)
    # Nothing that was answered is sent again, but for the few that are asked twice.
    assert len(done[1].ledger.responses) == len(kit.images)
    assert bad.images - before <= len(kit.images) - len(cases[1].ledger.responses) + query_session.N_REPEATS
    with serving(serve(trained(0))) as plain:
        verdict = verify(kit, [replace(configs[1], at=plain.url)], tmp_path / "plain", alpha=0.2)[0].verdict
    assert done[1].verdict.p_value == verdict.p_value


def test_a_batch_with_an_unfinished_one_is_shown_and_replayed(tmp_path: Path) -> None:
    """By its transcripts, bit for bit; alone, the unfinished one is no evidence."""
    kit = toy_kit("uap")
    with serving(serve(trained(0))) as good, serving(serve(trained(0)), after_two(faults.redirect_to("x"))) as bad:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("bad", bad), ("good", good))]
        cases = verify(kit, configs, tmp_path, alpha=0.2)
        with pytest.raises(UserError, match="all that were judged together"):
            replay(kit, [transcript_path(tmp_path, "good")])
        with pytest.raises(UserError, match=r"suspect bad: .*redirect") as caught:
            verify(kit, configs[:1], tmp_path / "alone")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"bad was not fully queried: .*redirect"):
        replay(kit, [transcript_path(tmp_path / "alone", "bad")])
    write_verdict(tmp_path / "a", kit, cases)
    write_verdict(tmp_path / "b", kit, replay(kit, [transcript_path(tmp_path, c.name) for c in configs]))
    for name in ("verdict.json", "verdict.txt", "verdict.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    jsonschema.validate(json.loads((tmp_path / "a" / "verdict.json").read_text()), verdict_schema())
    assert "7 images sent, 3 answered and kept, none judged" in verdict_text(kit, cases)
    assert "bad: not answered" in (tmp_path / "a" / "verdict.html").read_text()


def test_none_that_could_be_queried_is_an_error_and_so_is_another_question(tmp_path: Path) -> None:
    kit, dead = toy_kit(), {"is": True}

    def redirects(exchange: Exchange) -> bool:
        return dead["is"] and faults.redirect_to("http://x/")(exchange)

    with serving(serve(trained(0)), redirects) as one, serving(serve(trained(0)), redirects) as two:
        configs = [SuspectConfig(at=e.url, name=n) for n, e in (("one", one), ("two", two))]
        with pytest.raises(UserError, match=r"suspect one: .*redirect.* \(and 1 more\)"):
            verify(kit, configs, tmp_path, alpha=0.2)
        dead["is"] = False
        with pytest.raises(UserError, match=r"suspect two: .*another suspect"):
            verify(kit, [configs[0], replace(configs[1], output="logits")], tmp_path, alpha=0.2)
        assert one.images > len(kit.images)
        assert two.images == FIRST_BATCH


def test_nobody_is_queried_from_another_folder_of_that_name(tmp_path: Path) -> None:
    """On a machine that does not share it, what was sent before would not count towards the budget."""

    def elsewhere(task: Any, suspects: Any) -> Any:
        for mark in tmp_path.glob(".*.mark"):
            mark.unlink()
        return [task(suspect) for suspect in suspects]

    with serving(serve(trained(0))) as endpoint, pytest.raises(UserError, match="one folder on all machines"):
        verify(toy_kit(), [SuspectConfig(at=endpoint.url)], tmp_path, map_tasks=elsewhere)
    assert endpoint.images == 0
    assert not list(tmp_path.iterdir())


def test_a_bad_suspect_is_told_of_before_a_good_one_is_queried(tmp_path: Path) -> None:
    with serving(serve(trained(0))) as good:
        configs = [SuspectConfig(at=good.url, name="good"), SuspectConfig(at="file:///etc/passwd", name="bad")]
        with pytest.raises(UserError, match="http"):
            verify(toy_kit(), configs, tmp_path, alpha=0.2)
        with pytest.raises(UserError, match="max_queries: expected at least"):
            verify(toy_kit(), configs[:1], tmp_path, QueryConfig(max_queries=1))
        with pytest.raises(UserError, match="different names"):
            verify(toy_kit(), [configs[0], configs[0]], tmp_path, alpha=0.2)
        assert good.requests == 0
