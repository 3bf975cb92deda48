"""Is that model mine? Query a suspect with the images of a kit, and judge it.

    uapfp verify --kit KIT --at http://127.0.0.1:5000            # mlflow models serve
    uapfp verify --kit KIT --at suspect.onnx --output logits --max-queries 500
    uapfp verify --kit KIT --replay OUT/*.transcript.jsonl       # judge again, nothing is sent

The same command resumes: no image that was answered is sent again (but for ten, to see whether
responses change). Suspects that cannot be fully queried get no verdict; the exit code is 2 then.
"""

import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import EXPERIMENT
from uapfp_dist.errors import UserError
from uapfp_dist.launch.verification import (
    choose_suspects,
    kept_answers,
    kit_register,
    record_verdict,
    replay_beside,
    run_verification,
)
from uapfp_dist.messages import one_line, printable
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.verification.format_search import TriedFormat, try_formats
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.register.lines import register_lines
from uapfp_dist.verification.replay import JudgedSuspect, made_elsewhere
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.reports.verdict_text import verdict_text

OF_ALL = ("probe_forms", "anyway", "max_queries", "total_timeout", "cold_start")
"""Options that a line about a suspect may name, beside those that stand in a file of suspects."""


@dataclass(frozen=True)
class Verify:
    """Judge suspects by their responses."""

    kit: Path
    """Folder of the kit (uapfp enroll makes it)."""
    suspect: Annotated[SuspectConfig, tyro.conf.arg(name="")] = field(default_factory=SuspectConfig)
    suspects: Path | None = None
    """JSON file with several suspects, judged together, in parallel on Ray. It is a list of objects with the options of
    one (at, name, output, ...), files named as seen from its folder."""
    replay: tuple[Path, ...] = ()
    """Transcripts of all suspects that were judged together: judge by them again, offline, with the looks that the
    kit's register held before them. Without --out nothing is written."""
    probe_forms: bool = False
    """Do not judge, but find out in which form the suspect takes images. The usual ones are tried (scale, mean and std,
    layout, channels), and one is proposed. Clean images that are no evidence are sent in each, and counted."""
    register: bool = False
    """Only show the kit's register: suspects tested, when, with what result."""
    expect: str | None = None
    """Digest that was published for the kit; a kit with another one is refused."""
    alpha: float | None = None
    """Tolerated rate of false accusation over all suspects (default: the kit's)."""
    out: Path | None = None
    """Folder of transcripts and verdict (default: ./verification). It must be one that all workers see when Ray runs on
    several machines."""
    query: Annotated[QueryConfig, tyro.conf.arg(name="")] = field(default_factory=QueryConfig)
    workers: int | None = None
    """0 queries several suspects from this process, a thread each; otherwise each is a task on Ray."""
    address: str | None = None
    """Ray cluster to use (default: $RAY_ADDRESS, else a local one that ends with the job)."""
    mlflow_uri: str | None = None
    """MLflow tracking URI (default: $MLFLOW_TRACKING_URI, else a sqlite file in --out)."""
    mlflow_experiment: str = EXPERIMENT
    """Name of the MLflow experiment; it is made where there is none."""
    track: bool = True
    """Record the verdict as an MLflow run; a replay is never recorded."""


def verify(chosen: Verify) -> None:
    """Judge, print the verdict."""
    kit = load_kit(chosen.kit, chosen.expect)
    out = (chosen.out or Path("verification")).expanduser().resolve()
    print(f"kit {kit.digest}", flush=True)
    if chosen.register:
        _show_register(chosen, kit)
        return
    if chosen.probe_forms:
        _try_forms(chosen, kit, out)
        return
    notes: list[str] = []
    if chosen.replay:
        _check_replay(chosen)
        cases = replay_beside(kit, chosen.kit, chosen.replay)
        if note := made_elsewhere(cases):
            print(f"note: {printable(note)}", flush=True)
    else:
        suspects = choose_suspects(chosen.suspect, chosen.suspects)
        register = kit_register(kit, chosen.kit)
        places = chosen.workers, chosen.address, register
        kept = kept_answers(suspects, out)
        cases = run_verification(kit, suspects, out, chosen.query, chosen.alpha, *places)
        notes = [printable(answers.note(name, "--out")) for name, answers in kept.items() if answers.used]
    written = bool(chosen.out) or not chosen.replay
    if written:
        write_verdict(out, kit, cases)
    if chosen.track and not chosen.replay:
        record_verdict(chosen.mlflow_uri, out, kit, cases, chosen.mlflow_experiment)
    where = f"\n\nverdict.json, verdict.html{'' if chosen.replay else ' and transcripts'}: {out}" if written else ""
    print(f"\n{verdict_text(kit, cases)}{where}", flush=True)
    for note in notes:  # below the verdict, where it is read
        print(f"note: {note}", flush=True)
    _check_complete(cases)


def _show_register(chosen: Verify, kit: Kit) -> None:
    """A line for each suspect that was tested with the kit."""
    if (register := kit_register(kit, chosen.kit)) is None:
        raise UserError("register: expected a kit with churn points, this one keeps none", argument="register")
    print("\n".join(register_lines(register, kit.info.max_suspects)), flush=True)


def _try_forms(chosen: Verify, kit: Kit, out: Path) -> None:
    """A line for each form as it is tried, then the one to use."""
    if chosen.replay or chosen.suspects or chosen.query.anyway:
        raise UserError(
            "probe_forms: expected one suspect, and no replay, suspects or anyway beside it; leave them out",
            argument="probe_forms",
        )

    def show(tried: TriedFormat) -> None:
        said = tried.result.text if tried.result else one_line(tried.why)
        print(f"  {shlex.join(input_options(tried.format)) or 'as named'}: {printable(said)}", flush=True)

    (suspect,) = choose_suspects(chosen.suspect, None)
    found = try_formats(kit, suspect, out, chosen.query, on_tried=show)
    best, n_sent = found.tried[0], sum(tried.queries for tried in found.tried)
    assert best.result is not None
    spent = f"{n_sent} images were sent in {len(found.tried)} forms"
    if found.untried:
        spent += f"; --max-queries was too small for {found.untried} others"
    if not best.fits:
        remedy = "allow more" if found.untried else "--anyway queries the rest and says whether its classes are renamed"
        raise UserError(
            f"probe_forms: none of the forms tried is the one that this suspect expects ({spent}); the best one, "
            f"{shlex.join(input_options(best.format)) or 'as named'}, {best.result.text}; {remedy}",
            argument="max_queries" if found.untried else "probe_forms",
        )
    options = shlex.join(input_options(best.format)) or "no option: scale 0-1, layout NCHW, no mean or std"
    print(f"\nproposed: {options}\n  it {best.result.text}; {spent}", flush=True)
    for other in found.equal:
        words = shlex.join(input_options(other.format)) or "no option"
        print(f"  {words} does equally well: these images do not tell them apart", flush=True)


def input_options(given: InputFormat) -> list[str]:
    """The options of a form, where it is not the default one."""
    words: list[str] = []
    for item in fields(given):
        if (value := getattr(given, item.name)) != item.default:
            words += [f"--{item.name}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def _check_replay(chosen: Verify) -> None:
    beside = chosen.alpha, chosen.suspects, chosen.suspect, chosen.query
    if beside != (None, None, SuspectConfig(), QueryConfig()):
        raise UserError(
            "replay: expected no alpha, suspects, or option of how a suspect is queried beside it: a transcript says "
            "who was queried and how, and at which alpha it was to be judged; leave them out",
            argument="replay",
        )


def _check_complete(cases: list[JudgedSuspect]) -> None:
    if missing := [f"{case.verdict.name} ({case.stopped})" for case in cases if case.stopped]:
        raise UserError(
            f"{len(missing)} of {len(cases)} suspects could not be fully queried: {', '.join(missing)}; the others are "
            "judged. Verifying again queries the rest, and judges all again",
            options=OF_ALL,
        )


COMMAND = Command(
    Verify,
    verify,
    __doc__,
    (
        "kit",
        "at",
        "output",
        "request",
        "answer",
        "suspects",
        "max-queries",
        "alpha",
        "out",
        "probe-forms",
        "register",
    ),
)
