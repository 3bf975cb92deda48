"""Enroll a model, and verify suspects: a kit that is fixed beforehand, and a verdict with a p-value."""

import hashlib
import inspect
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from uapfp_dist.api.checks import check_classes, checked_model, weights_digest
from uapfp_dist.api.data import Data
from uapfp_dist.api.training import Architecture
from uapfp_dist.config.presets import PRESETS
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.launch.private_seed import draw_seed, read_seed, write_seed
from uapfp_dist.launch.save_kit import save_with_register
from uapfp_dist.launch.verification import kept_answers, kit_register
from uapfp_dist.models import Net
from uapfp_dist.models.architecture_names import is_published
from uapfp_dist.models.blackbox import labels_given, predict_probabilities
from uapfp_dist.models.custom import ModuleNet
from uapfp_dist.models.published import PublishedNet
from uapfp_dist.suspects.callable import CallableSuspect
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.suspects.suspect import Suspect
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.enrollment.owner_model import OwnerSiblings, owner_model_of
from uapfp_dist.verification.judging.verdict import SuspectVerdict
from uapfp_dist.verification.kit.io import load_kit, with_digest
from uapfp_dist.verification.kit.kit import Kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.reports.verdict_folder import write_verdict
from uapfp_dist.verification.verify import verify as verify_suspects

Training = Callable[[Tensor, Tensor, int, torch.device], nn.Module]
"""(images (N, c, h, w) in [0, 1], labels (N,), seed, device) to a module, trained as the victim was."""


def enroll(
    victim: Net,
    data: Data,
    *,
    architecture: Architecture,
    train: str | Training,
    width: int = 8,
    alpha: float | None = None,
    size: Literal["full", "light"] | None = None,
    requirements: EnrollConfig | None = None,
    config: Config | None = None,
    out: Path | str | None = None,
    store: Path | str | None = None,
    seed: int | None = None,
) -> Kit:
    """Make the kit by which suspects are judged: trains siblings, stolen and independent models, in this process.

    Takes minutes for small nets; `uapfp enroll` does the same on Ray. Publish the kit's `digest` before you query any
    suspect.

    Args:
        victim: the model to protect; it was trained on `data.victim_set`.
        data: its data set.
        architecture: of the victim: a name, with `width`, or the factory that makes its module,
            `factory(n_classes, (c, h, w))`, or its path `package.module:factory`.
        train: `train(images, labels, seed, device)` returns a sibling: such a module, trained as the victim was, from
            another seed; or its path. The function is defined at the top level of a module, script or notebook.
        width: of the nets of Table 1.
        alpha: tolerated rate of false accusation, in (0, 0.5]; None: that of `requirements`.
        size: full; or light, which trains half of the models, steals nothing from the victim, and cannot say how much
            it catches; None: that of `requirements`.
        requirements: these two and more: groups of negatives, the number of suspects, ...; None: the defaults, alpha
            .05 and full.
        config: how the other models are trained and extracted; None: as in the preset of that data set.
        out: folder of the kit, a new one, or the same to resume; its register and private seed stand beside it. None:
            the kit is in memory alone, and no register counts how often it is used.
        store: folder of the trained models; None: a temporary one.
        seed: of every random choice; None: a private one, since whoever knows it can make the siblings.

    Raises:
        UserError: a victim that is no better than chance or below the gate of its siblings, functions that cannot be
            found or return other modules, too few models that could be made.
    """
    victim = checked_model(victim, "victim")
    if not isinstance(data, Data):
        raise UserError(f"data: expected what load gives, got {type(data).__name__}", argument="data")
    check_classes(victim, data.n_classes, "victim")
    module: nn.Module = victim
    name: object = architecture
    mean = std = None
    if not isinstance(architecture, str) or ":" in architecture:
        name = _path(architecture, "architecture")
        if isinstance(victim, ModuleNet):
            module, mean, std = victim.module, _channels(victim.mean, data), _channels(victim.std, data)
    assert isinstance(name, str)
    if is_published(name) and not (isinstance(victim, PublishedNet) and victim.architecture == name):
        raise UserError(
            f"architecture: expected {name} of a victim that was trained under this name, this one may take images of "
            "another size; give the factory that makes its module",
            argument="architecture",
        )
    siblings = OwnerSiblings(_path(train, "train"))
    by_path = ":" in name
    places = data.splits.d_v, siblings
    owner = owner_model_of(module, name, *places, width=0 if by_path else width, mean=mean, std=std)
    folder = None if out is None else Path(out).expanduser().absolute()
    number = _seed(seed, folder)
    chosen = replace(config or _config_for(data), data=data.config)
    wanted = requirements or EnrollConfig()
    wanted = replace(wanted, alpha=wanted.alpha if alpha is None else alpha, size=size or wanted.size)
    with ExitStack() as stack:
        place = store or stack.enter_context(tempfile.TemporaryDirectory())
        kit = enroll_locally(
            chosen,
            wanted,
            number,
            store=place,
            dataset=data.dataset,
            owner_model=owner,
            seed_is_private=seed is None,
        )
    if folder is None:
        return with_digest(kit)
    save_with_register(kit, folder)
    return load_kit(folder)


def verify(
    kit: Kit | Path | str,
    suspect: Net | SuspectConfig | str,
    *,
    output: str = "probabilities",
    alpha: float | None = None,
    out: Path | str | None = None,
    query: QueryConfig | None = None,
) -> SuspectVerdict:
    """Is that model derived from the victim? Query it with the images of a kit, and judge its responses.

    Args:
        kit: what `enroll` returned, or its folder. With the folder, the register beside it counts every look: p-values
            are corrected for all suspects that the kit was enrolled for, and later looks change no earlier verdict.
        suspect: a model; the address of an API, a file or module:function, as for `uapfp verify --at`; or a
            `SuspectConfig` with every setting of a suspect, in which case `output` is not read.
        output: what it responds with: probabilities, logits, top<k> such as top3 (addresses alone), or label.
        alpha: tolerated rate of false accusation; None: the kit's.
        out: folder of the transcript, which is the evidence, and of the verdict as a page; the same folder resumes, and
            a warning says how old the responses in it are. Another model needs another folder. None: nothing is kept.
        query: pace and limits, such as `max_queries`.

    Returns:
        `.claim` (piracy; inconclusive, which does not mean independent; or cannot decide at this alpha), `.p_adjusted`,
        `.decided_by`, `.limits`, ...

    Raises:
        UserError: no kit, a suspect that cannot be reached or does not respond as `output` says, more suspects than
            the kit can decide about, an `out` that holds the responses of another model.
    """
    register = None
    if not isinstance(kit, Kit):
        folder = Path(kit).expanduser()
        kit = load_kit(folder)
        register = kit_register(kit, folder)
    net = None
    if not isinstance(suspect, SuspectConfig | str):
        net = checked_model(suspect, "suspect", ", or give its path 'module:function'" * callable(suspect))
        check_classes(net, kit.n_classes, "suspect")
        suspect = _address(net)
    config = suspect if isinstance(suspect, SuspectConfig) else SuspectConfig(at=suspect, output=output)

    def opened(given: SuspectConfig, shape: tuple[int, int, int], n_classes: int) -> Suspect:
        if net is None:
            try:
                return open_suspect(given, shape, n_classes)
            except UserError as error:
                if error.argument != "architecture" or given.architecture:
                    raise
                raise UserError(f"{error}: SuspectConfig(at=..., architecture=...)", argument="suspect") from error
        return CallableSuspect(_respond(net, output), given.input_format)

    with ExitStack() as stack:
        place = Path(out or stack.enter_context(tempfile.TemporaryDirectory())).expanduser().absolute()
        kept = kept_answers([config], place)
        (case,) = verify_suspects(kit, [config], place, query, alpha, opener=opened, register=register)
        for name, answers in kept.items():
            if answers.used:
                warnings.warn(answers.note(name), stacklevel=2)
        if out is not None:
            write_verdict(place, kit, [case])
    return case.verdict


def _respond(net: Net, output: str) -> Callable[[np.ndarray], Any]:
    """A model in this process as an API."""
    if output not in ("probabilities", "label"):
        raise UserError(
            f"output: expected probabilities or label of a model in this process, got {output}", argument="output"
        )

    def respond(images: np.ndarray) -> Tensor | list[int | None]:
        probabilities = predict_probabilities(net, torch.from_numpy(np.asarray(images, dtype=np.float32)))
        return probabilities if output == "probabilities" else labels_given(probabilities)

    return respond


def _address(net: Net) -> str:
    """A name of a model in this process in the form module:function; one of other layers or weights has another."""
    layers = [(name, type(module).__name__) for name, module in net.named_modules()]
    digest = hashlib.sha256(f"{layers} {weights_digest(net)}".encode()).hexdigest()
    return f"memory:{type(net).__name__}_{digest[:16]}"


def _config_for(data: Data) -> Config:
    name = data.dataset.name
    small = f"{name}-small"
    known = next((preset for preset in (small, name) if preset in PRESETS), None)
    return enroll_preset(known) if known else Config()


def _channels(buffer: Tensor, data: Data) -> tuple[float, ...]:
    return tuple(buffer.flatten().expand(data.shape[0]).tolist() if buffer.numel() == 1 else buffer.flatten().tolist())


def _path(function: object, argument: str) -> str:
    """Where a function can be imported from.

    Raises:
        UserError: a lambda, or a function within another one.
    """
    if isinstance(function, str):
        return function
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    named = inspect.isroutine(function) or inspect.isclass(function)
    if named and getattr(sys.modules.get(module), name, None) is function:
        return f"{module}:{name}"
    raise UserError(
        f"{argument}: expected a function at the top level of a module, script or notebook, or its path "
        f"package.module:function, got {name or type(function).__name__}",
        argument=argument,
    )


def _seed(seed: int | None, folder: Path | None) -> int:
    if seed is not None:
        return seed
    if folder is None:
        return draw_seed()
    if (known := read_seed(folder)) is not None:
        return known
    number = draw_seed()
    write_seed(folder, number)
    return number
