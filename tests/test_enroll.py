"""Enrolment: who trains, calibrates and tests; that the kit holds what was really asked; whose model it is."""

import importlib
import io
import pickle
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from owners_net import make, trained
from safetensors.torch import save_file
from system import ROOT, context_on, tiny
from torch import Tensor
from toy_kit import toy_kit

from uapfp_dist.config.schema import Config
from uapfp_dist.data import Dataset, Splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import around
from uapfp_dist.execution.probe_artifacts import read_probe
from uapfp_dist.execution.steps import perform_task
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL
from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.fingerprints.querying import from_8_bits, query_images, to_8_bits
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import ask
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.progress import Progress
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.rng import torch_rng
from uapfp_dist.statistics.conformal import needed_for
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.executor import SerialPool
from uapfp_dist.tasks.hashing import Spec, canonical
from uapfp_dist.tasks.method_configs import UapConfig
from uapfp_dist.tasks.specs import DataSpec, Extracted, Imported
from uapfp_dist.verification.cost import estimate
from uapfp_dist.verification.enroll_config import EnrollConfig
from uapfp_dist.verification.enrollment import enroll, enroll_locally
from uapfp_dist.verification.judge import judge
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_builder import make_kit
from uapfp_dist.verification.kit_io import load_kit, save_kit
from uapfp_dist.verification.learning import WEIGHINGS, Separation, TrainingRows, naive_bayes
from uapfp_dist.verification.owner import check_cut, keep_index, owner_model_of, read_index, read_owner_model
from uapfp_dist.verification.reference_models import EnrollmentPlan, OwnerVictim, plan_enrollment
from uapfp_dist.verification.verdict import SuspectAnswers

SMALL = EnrollConfig(
    alpha=0.5, attacks=("cloudleak", "knockoff"), n_train=2, n_train_piracy=1, n_test=1, n_test_piracy=1
)
"""One calibration model per group is enough to decide at alpha .5."""


def small_plan(digits: Dataset, own: OwnerVictim | None = None, **wanted: Any) -> EnrollmentPlan:
    """A small enrolment on digits, seed 0."""
    return plan_enrollment(tiny(), replace(SMALL, **wanted), 0, digits, own)


def refusing(store: Store, doomed: Callable[[Spec], bool] = lambda spec: True) -> SerialPool:
    """A pool that fails some specs."""
    context = context_on(store)

    def act(spec: Spec) -> None:
        if doomed(spec):
            raise RuntimeError("struck")
        perform_task(context, spec)

    return SerialPool(act)


def run_here(plan: EnrollmentPlan, digits: Dataset, store: Store, pool: SerialPool | None = None) -> Kit:
    """Without Ray and MLflow."""
    pool = pool or SerialPool(partial(perform_task, context_on(store)))
    return enroll(plan, digits, store, pool, quiet())


def quiet() -> Progress:
    """Tells nobody."""
    return Progress(workers=1, out=io.StringIO())


@pytest.fixture(scope="module")
def plan(digits: Dataset) -> EnrollmentPlan:
    """Twenty models."""
    return small_plan(digits)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Where they lie once they are made."""
    return Store(str(tmp_path_factory.mktemp("enroll")))


@pytest.fixture(scope="module")
def kit(plan: EnrollmentPlan, digits: Dataset, store: Store) -> Kit:
    """The kit of `plan`."""
    return run_here(plan, digits, store)


# --- the plan


@pytest.mark.parametrize(("alpha", "k", "m"), [(0.05, 1, 19), (0.01, 1, 99), (0.05, 3, 59), (0.1, 2, 19)])
def test_groups_are_as_large_as_alpha_and_suspects_want(alpha: float, k: int, m: int, digits: Dataset) -> None:
    wanted = EnrollConfig(alpha=alpha, max_suspects=k)
    assert wanted.n_calibrate == m == needed_for(alpha / k)
    plan = plan_enrollment(tiny(), wanted, 0, digits)
    counts = Counter((s.group, s.part) for s in plan.reference_models)
    for group in wanted.groups:
        assert counts[group, "held_out"] == m + wanted.n_test
        assert counts[group, "training"] == wanted.n_train
    n_ways = len(wanted.attacks) * len(wanted.labels)
    assert counts["piracy", "training"] == n_ways * wanted.n_train_piracy
    assert counts["piracy", "held_out"] == n_ways * wanted.n_test_piracy


def test_who_is_who(digits: Dataset) -> None:
    """One other victim per pirate, which is nobody else; same-data models on D_v; the victim's architecture too."""
    plan = plan_enrollment(tiny(), EnrollConfig(), 0, digits)
    robbed = []
    for s in plan.reference_models:
        origin = s.member.spec.origin
        if s.group == "other_victim":
            assert isinstance(origin, Extracted)
            robbed.append(origin.victim.id)
        elif s.group == "piracy":
            assert isinstance(origin, Extracted)
            assert origin.victim == plan.victim
        else:
            assert getattr(origin, "on", "") == {"homologous": "homologous_set", "same_data": "victim_set"}[s.group]
        assert s.member.spec.gate is not None
        assert s.member.spec.gate.reference == plan.victim
    assert len(set(robbed)) == len(robbed)
    for group in ("piracy", *plan.requirements.groups):
        architectures = {s.member.spec.architecture for s in plan.reference_models if s.group == group}
        assert architectures == {"A", "B", "C", "D", "E"}
    ids = [s.member.spec.id for s in plan.reference_models]
    assert len(set(ids)) == len(ids)
    assert not {*ids, plan.victim.id} & set(robbed)


def test_every_way_of_stealing_trains_and_tests_alike(digits: Dataset) -> None:
    """Crossed with the architectures, so that none stands for a way."""
    plan = plan_enrollment(tiny(), EnrollConfig(), 0, digits)
    pirates = [s for s in plan.reference_models if s.group == "piracy"]
    counts = Counter((s.extraction_variant, s.part) for s in pirates)
    assert set(counts) == set(product(plan.requirements.extraction_variants, ("training", "held_out")))
    assert {counts[way, "training"] for way in plan.requirements.extraction_variants} == {
        plan.requirements.n_train_piracy
    }
    assert len({(s.extraction_variant, s.member.spec.architecture) for s in pirates}) > 15
    natural = {s.member.spec.origin.natural_share for s in pirates if s.extraction_variant[0] == "knockoff"}  # type: ignore[union-attr]
    assert natural == {1.0}


def test_groups_left_out_are_not_made(digits: Dataset) -> None:
    """Other victims are still trained where somebody steals from them."""
    plan = small_plan(digits, groups=("other_victim",))
    assert {s.group for s in plan.reference_models} == {"piracy", "other_victim"}
    assert len(plan.models) == 1 + len(plan.reference_models) + sum(
        s.group == "other_victim" for s in plan.reference_models
    )
    without = small_plan(digits, groups=("homologous", "same_data"))
    assert len(without.models) == 1 + len(without.reference_models)


def test_a_larger_calibration_keeps_the_models_of_the_smaller(digits: Dataset) -> None:
    """Raising --max-suspects trains only what is new."""
    smaller, larger = small_plan(digits), small_plan(digits, max_suspects=2)
    assert {spec.id for spec in smaller.models if spec.extraction is None} <= {spec.id for spec in larger.models}


def test_fields_that_came_later_change_no_name() -> None:
    """Artifacts made before them stay valid."""
    assert "references" not in canonical(UapConfig())
    assert "victim_set" not in canonical(DataSpec("d", "0", 0, 0.5, (0.4, 0.3, 0.3)))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 0.6}, "alpha"),
        ({"max_suspects": 0}, "max-suspects"),
        ({"groups": ()}, "group"),
        ({"groups": ("homologous", "homologous")}, "once"),
        ({"groups": ("cousins",)}, "cousins.*homologous, other_victim, same_data"),
        ({"attacks": ("gan",)}, "gan.*cloudleak"),
        ({"labels": ()}, "labels"),
        ({"formats": (PROBABILITIES,)}, "formats: expected label among them, .*got probabilities"),
        ({"n_train": 1}, "n_train"),
        ({"n_test": -1}, "n_test"),
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, Any], word: str, digits: Dataset) -> None:
    with pytest.raises(UserError, match=word) as caught:
        small_plan(digits, **wrong)
    assert "\n" not in str(caught.value)


# --- the kit


def test_every_model_answered_the_very_images_of_the_kit(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Asked anew, from their 8 bits, each calibration model scores in its own row what the kit says."""
    context, images = context_on(store), from_8_bits(kit.images)
    assert torch.equal(to_8_bits(images), kit.images)
    by_id = {s.member.spec.id: s.member.spec for s in plan.reference_models}
    for row, model in enumerate(kit.info["models"]):
        answers = ask(context.net(by_id[model["model"]]), images)
        verdict = judge(kit, [SuspectAnswers("again", answers, PROBABILITIES)])[0]
        assert verdict.similarity == pytest.approx(float(kit.similarity[PROBABILITIES][row].mean()), abs=1e-5)
        agrees = answers.argmax(1)[kit.natural] == kit.victim_labels[kit.natural]
        assert torch.equal(agrees, kit.agrees[row])


def test_the_victim_is_found_and_the_kit_is_whole(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    """Images once each; the victim's answers; parts disjoint; power and false accusation on models of neither part."""
    answers = ask(context_on(store).net(plan.victim), from_8_bits(kit.images))
    assert torch.allclose(answers, kit.victim, atol=1e-6)
    assert len(kit.images.unique(dim=0)) == len(kit.images)
    assert judge(kit, [SuspectAnswers("victim", answers, PROBABILITIES)])[0].similarity == pytest.approx(1.0, abs=1e-6)
    parts = Counter((model["group"], model["part"]) for model in kit.info["models"])
    assert parts == {("piracy", "test"): 4} | {
        (group, part): 1 for group in plan.requirements.groups for part in ("calibration", "test")
    }
    held_out = {s.member.spec.id for s in plan.reference_models if s.part == "held_out"}
    assert {model["model"] for model in kit.info["models"]} == held_out
    for fmt in plan.requirements.formats:
        for method in ("uap", "weighted_errors"):
            assert kit.info["power"][fmt.wire][method]["all"][1] == 4
            assert kit.info["false_accusations"][fmt.wire][method]["all"][1] == 3
        decided = kit.info["decided_by"][fmt.wire]
        trained = decided["training"]
        better = max(trained, key=lambda name: Separation(**trained[name]))
        assert decided["method"] == better


def test_clean_images_are_the_owners_training_images(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    dataset, splits = context_on(store).data(plan.victim.data)
    own = {image.numpy().tobytes() for image in dataset.images[splits.d_v]}
    assert all(kit.images[i].numpy().tobytes() in own for i in kit.clean)
    natural = {image.numpy().tobytes() for image in dataset.images[splits.probe]}
    assert all(kit.images[i].numpy().tobytes() in natural for i in kit.natural)


def test_whatever_is_sent_has_8_bits(plan: EnrollmentPlan, kit: Kit, store: Store) -> None:
    probe = read_probe(store.get("probe", plan.probe.id))
    assert set(probe.blocks) == {"uap_paper", "uap@0.5", "uap@0.7"}
    for name in (CLEAN, NATURAL, *probe.blocks):
        images = query_images(probe, name)
        assert torch.equal(from_8_bits(to_8_bits(images)), images)


def test_the_same_models_give_the_same_kit(plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store) -> None:
    """A second run trains nothing and commits to the same digest."""
    assert run_here(plan, digits, store, refusing(store)).digest == kit.digest


def test_one_call_from_python_makes_the_kit(
    plan: EnrollmentPlan, kit: Kit, store: Store, digits: Dataset, tmp_path: Path
) -> None:
    """What the job makes without Ray, of artifacts that are there; images at hand go by no name."""
    threads = torch.get_num_threads()
    assert enroll_locally(tiny(), SMALL, store=store.url, progress=quiet()).digest == kit.digest
    assert torch.get_num_threads() == threads
    mine = replace(digits, name="mine")
    found = enroll_locally(tiny(), SMALL, 1, store=tmp_path / "s", dataset=mine, progress=quiet())
    assert found.info["data"]["name"] == "mine"
    assert (found.class_names, found.images.dtype) == (digits.class_names, torch.uint8)
    assert load_kit(tmp_path / "kit", save_kit(found, tmp_path / "kit")).digest == found.digest
    with pytest.raises(UserError, match="unknown preset"):
        enroll_locally("enormous")


def test_names_of_classes_that_no_kit_may_hold_are_refused_first(digits: Dataset) -> None:
    odd = replace(digits, class_names=("\x1b[2J", *digits.class_names[1:]))
    with pytest.raises(UserError, match=r"names of classes.*\\x1b") as caught:
        plan_enrollment(tiny(), SMALL, 0, odd)
    assert str(caught.value).isprintable()


def test_a_kit_that_lies_there_must_be_the_one_asked_for(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zoos of one table have one configuration; the kit says which."""
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    job = importlib.import_module("false_accusations")
    save_kit(kit, tmp_path / "digits-0")
    there = load_kit(tmp_path / "digits-0")
    job.check_same(there, tiny(), SMALL, 0, tmp_path)
    older = replace(there, info=there.info | {"configuration": {**there.info["configuration"]}})
    older.info["configuration"]["zoo"] = {k: v for k, v in older.info["configuration"]["zoo"].items() if k != "augment"}
    job.check_same(older, tiny(), SMALL, 0, tmp_path)
    slower = replace(tiny(), zoo=replace(tiny().zoo, epochs=5.0))
    for config, wanted, seed, said in (
        (slower, SMALL, 0, "zoo.epochs 5.0, it says 4.0"),
        (tiny(), replace(SMALL, n_errors=7), 0, "enroll.n_errors 7, it says 100"),
        (tiny(), SMALL, 1, "seed 1, it says 0"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            job.check_same(there, config, wanted, seed, tmp_path)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(sys, "argv", ["false_accusations.py", "--out", str(tmp_path), "--seeds", "5", "0"])
    monkeypatch.setattr(job, "run", lambda chosen: pytest.fail("nothing is enrolled before the others are looked at"))
    with pytest.raises(UserError, match=r"digits-0: expected one enrolled with .* more differ"):
        job.job()


def test_scorers_look_at_training_models_only(plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store) -> None:
    """With other held-out answers the encoders and weights stay as they are."""
    copy = Store(str(Path(store.url).parent / "copy"))
    for kind in ("model", "probe", "answers"):
        for path in (Path(store.url) / kind).iterdir():
            found = store.get(kind, path.stem)
            copy.put(kind, path.stem, found.tensors, found.info)
    for supporter in plan.reference_models:
        if supporter.part == "held_out":
            key = plan.response(supporter).id
            found = copy.get("answers", key)
            copy.put("answers", key, {name: t.flip(1) for name, t in found.tensors.items()}, found.info)
    other = make_kit(plan, digits, copy)
    assert torch.equal(other.images, kit.images)
    assert torch.equal(other.log_odds_agree, kit.log_odds_agree)
    assert all(torch.equal(t, other.encoders[f][n]) for f, e in kit.encoders.items() for n, t in e.items())
    assert other.info["decided_by"] == kit.info["decided_by"]
    assert not torch.equal(other.agrees, kit.agrees)


def test_weights_are_those_of_the_evaluation() -> None:
    """The kit's gains and losses add up to the scores of the method of the same name."""
    agree = torch.rand(12, 50, generator=torch_rng("agree")) < 0.5
    training = TrainingRows({"piracy": [1, 2, 3], "homologous": [4, 5], "same_data": [6]}).training()
    expected = weighted_scores(agree, [1, 2, 3], [4, 5, 6], 20)
    assert torch.allclose(naive_bayes(agree, training, 20).score(agree).float(), expected)


@pytest.mark.parametrize("way", sorted(WEIGHINGS))
def test_weights_find_the_images_that_tell(way: str) -> None:
    """Of fifty images there are three on which pirates agree and innocents do not: agreement there is piracy."""
    agree = torch.rand(12, 50, generator=torch_rng("agree")) < 0.5
    agree[:, [7, 21, 40]] = torch.tensor([True] * 6 + [False] * 6)[:, None]
    found = WEIGHINGS[way](agree, TrainingRows({"piracy": range(6), "homologous": range(6, 12)}).training(), 3)  # type: ignore[arg-type]
    assert sorted(found.index.tolist()) == [7, 21, 40]
    assert (found.log_odds_agree > found.log_odds_disagree).all()
    assert found.score(agree)[:6].min() > 0 > found.score(agree)[6:].max()


def test_separation_counts_what_an_accusation_takes() -> None:
    """Two of four pirates stand above every innocent; each group of innocents weighs alike in the AUC."""
    groups = {"piracy": [4.0, 3.0, 1.0, 0.0], "homologous": [2.0, 0.5], "same_data": [-1.0]}
    found = Separation.of({name: torch.tensor(scores) for name, scores in groups.items()})
    assert found.caught == 0.5
    assert found.auc == pytest.approx(((2 + 3) / 8 + 4 / 4) / 2)
    assert Separation(0.6, 0.0, 0.0) > Separation(0.5, 1.0, 9.0)


def test_folds_leave_every_model_out_once() -> None:
    rows = {"piracy": list(range(1, 8)), "homologous": list(range(8, 12)), "same_data": list(range(12, 15))}
    seen: Counter[int] = Counter()
    for training, left in TrainingRows(rows).folds():
        out = {row for group in left.values() for row in group}
        assert not out & {*training.piracy, *training.homologous}
        assert out | {*training.piracy, *training.homologous} == set(range(1, 15))
        assert all(left.values())
        seen.update(out)
    assert seen == Counter(range(1, 15))


def test_a_model_that_fails_is_replaced_by_a_spare_one(
    plan: EnrollmentPlan, kit: Kit, digits: Dataset, store: Store, tmp_path: Path
) -> None:
    """It was going to test; without a spare one the kit is refused, and why is said."""
    group = [s for s in plan.reference_models if s.group == "same_data" and s.part == "held_out"]

    def without(lost: Sequence[Any], folder: str) -> Kit:
        copy = Store(str(tmp_path / folder))
        gone = {plan.response(s).id for s in lost}
        for kind in ("model", "probe", "answers"):
            for path in (Path(store.url) / kind).iterdir():
                found = store.get(kind, path.stem)
                if path.stem not in gone:
                    copy.put(kind, path.stem, found.tensors, found.info)
        return run_here(plan, digits, copy, refusing(copy))

    spared = without(group[:1], "one")
    parts = Counter((m["group"], m["part"]) for m in spared.info["models"])
    assert (parts["same_data", "calibration"], parts["same_data", "test"]) == (1, 0)
    with pytest.raises(UserError, match=r"1 same_data models to calibrate with, 0 could be made \(.*struck"):
        without(group, "both")


def test_costs_are_told_before_and_after(plan: EnrollmentPlan, kit: Kit, store: Store, tmp_path: Path) -> None:
    """Nothing is left to do here; everything elsewhere, measured by a few steps."""
    done = estimate(plan, context_on(store))
    assert (done.models, done.stored, done.seconds) == (0, len(plan.models), 0.0)
    assert kit.info["costs"]["models"] == len(plan.models)
    todo = estimate(plan, context_on(Store(str(tmp_path / "empty"))))
    assert todo.models == len(plan.models)
    assert 0.1 < todo.seconds / (kit.info["costs"]["model_seconds"] + 0.1) < 100
    assert f"to make: {len(plan.models)} models" in todo.summary(2)


# --- her own model


def save(weights: Mapping[str, Tensor], path: Path) -> None:
    """As an owner would."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)


def her_weights(folder: Path, digits: Dataset, digits_splits: Splits) -> Path:
    """Trained a little on D_v, in her own way."""
    index = digits_splits.d_v
    net = trained(digits.pixels(index), digits.labels[index], digits.n_classes)
    save_file(net.state_dict(), folder / "her.safetensors")
    return folder / "her.safetensors"


def test_her_own_module_is_enrolled(digits: Dataset, digits_splits: Splits, tmp_path: Path) -> None:
    """By import path, her preprocessing inside: the kit holds what her module says, and some copies are of its kind."""
    path = her_weights(tmp_path, digits, digits_splits)
    brought = read_owner_model(path, "owners_net:make", 4)
    plan = small_plan(digits, brought.victim, groups=("homologous",), labels=(PROBABILITIES,))
    assert isinstance(plan.victim.origin, Imported)
    assert "owners_net:make" in {s.member.spec.architecture for s in plan.reference_models}
    assert "A" not in {s.member.spec.architecture for s in plan.reference_models}
    store = Store(str(tmp_path / "store"))
    assert brought.put(context_on(store), plan.victim) > 0.8
    kit = run_here(plan, digits, store)
    hers = make(digits.n_classes, digits.shape)
    hers.load_state_dict(brought.weights)
    answers = hers(from_8_bits(kit.images)).softmax(1)
    assert torch.allclose(answers, kit.victim, atol=1e-5)
    assert kit.info["victim"]["imported"]
    assert any("half of the data" in limit for limit in kit.info["limits"])
    verdict = judge(kit, [SuspectAnswers("hers", answers.detach(), PROBABILITIES)])[0]
    assert verdict.similarity == pytest.approx(1.0, abs=1e-5)
    assert verdict.not_calibrated_against == ("same_data", "other_victim")
    # The same module from memory is the same victim, and everything is there already.
    own = owner_model_of(hers, "owners_net:make")
    wanted = replace(SMALL, groups=("homologous",), labels=(PROBABILITIES,))
    assert (
        enroll_locally(tiny(), wanted, store=store.url, own=own, progress=quiet()).info["victim"] == kit.info["victim"]
    )
    again = small_plan(digits, own.victim, groups=("homologous",), labels=(PROBABILITIES,))
    assert estimate(again, context_on(store)).models == 0


def test_a_known_architecture_with_her_preprocessing(victim: Net, digits: Dataset, own: Tensor, tmp_path: Path) -> None:
    """Weights without mean and standard deviation, given beside them, are the same net."""
    weights = {name: t for name, t in victim.state_dict().items() if name not in ("mean", "std")}
    save(weights, tmp_path / "a.safetensors")
    mean, std = (tuple(getattr(victim, name).flatten().tolist()) for name in ("mean", "std"))
    brought = read_owner_model(tmp_path / "a.safetensors", "A", 8, mean, std)
    plan = small_plan(digits, brought.victim)
    context = context_on(Store(str(tmp_path / "s")))
    brought.put(context, plan.victim)
    assert torch.allclose(ask(context.net(plan.victim), own), ask(victim, own), atol=1e-6)


@pytest.mark.parametrize("name", ["her.onnx", "her.pt", "her.pth", "her.pkl", "her.safetensors"])
def test_other_files_are_refused_with_the_reason_and_never_run(name: str, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / name).write_bytes(pickle.dumps(Malice()))
    reason = {"onnx": "no gradients", "safetensors": "safetensors"}.get(name.split(".")[1], "may be a pickle")
    with pytest.raises(UserError, match=reason) as caught:
        read_owner_model(tmp_path / name, "A", 8)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="weights"):
        read_owner_model(tmp_path / "none.safetensors", "A", 8)


@pytest.mark.parametrize(
    ("architecture", "spoil", "word"),
    [
        ("A", lambda w: {n: t for n, t in w.items() if n != "last.bias"}, "last.bias"),
        ("A", lambda w: w | {"last.weight": w["last.weight"][:5]}, "last.weight"),
        ("A", lambda w: w | {"last.bias": w["last.bias"] * torch.nan}, "NaN"),
        ("A", lambda w: w | {"last.weight": -w["last.weight"]}, "chance"),
        ("B", lambda w: w, "tensors of this architecture"),
        ("nobody:make", lambda w: w, "nobody"),
        ("owners_net:nothing", lambda w: w, "nothing"),
        ("owners_net:make_nothing", lambda w: w, "module"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    architecture: str, spoil: Callable[[Any], Any], word: str, victim: Net, digits: Dataset, tmp_path: Path
) -> None:
    save(spoil(dict(victim.state_dict())), tmp_path / "w.safetensors")
    brought = read_owner_model(tmp_path / "w.safetensors", architecture, 8)
    plan = small_plan(digits, brought.victim)
    store = Store(str(tmp_path / "s"))
    with pytest.raises(UserError, match=word) as caught:
        brought.put(context_on(store), plan.victim)
    assert "\n" not in str(caught.value)
    assert not store.has("model", plan.victim.id)


def test_the_images_she_trained_on_are_hers_alone(digits: Dataset, victim: Net, tmp_path: Path) -> None:
    """They become D_v; nobody else's held-out images have any; every worker cuts alike."""
    index = torch.arange(0, 900, 2)
    (tmp_path / "index.txt").write_text("\n".join(map(str, index.tolist())))
    found = read_index(tmp_path / "index.txt", digits)
    assert torch.equal(found, index)
    save(victim.state_dict(), tmp_path / "w.safetensors")
    brought = read_owner_model(tmp_path / "w.safetensors", "A", 8, trained_on=found)
    plan = small_plan(digits, brought.victim)
    context = context_on(Store(str(tmp_path / "s")))
    keep_index(context.store, found, digits)
    check_cut(context, plan.victim)
    _, splits = context.data(plan.victim.data)
    assert torch.equal(splits.d_v, index)
    assert torch.isin(index, splits.d).all()
    for name in ("probe", "attack", "eval"):
        assert not torch.isin(getattr(splits, name), index).any()
    seen = {s.member.spec.recipe.samples_seen for s in plan.reference_models}
    assert seen == {round(4.0 * 450)}
    assert {s.member.spec.data for s in plan.reference_models} == {plan.victim.data}


@pytest.mark.parametrize("text", ["", "1\n1\n", "-1\n" * 30, "a\n", "\n".join(map(str, range(1700, 1900)))])
def test_lists_of_images_that_are_none_are_refused(text: str, digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "index.txt").write_text(text)
    with pytest.raises(UserError, match="trained-on") as caught:
        read_index(tmp_path / "index.txt", digits)
    assert "\n" not in str(caught.value)


def test_whoever_trained_on_everything_cannot_be_enrolled(digits: Dataset, victim: Net, tmp_path: Path) -> None:
    """Nothing is left to steal with, or to measure by."""
    everything = torch.arange(len(digits.labels))
    save(victim.state_dict(), tmp_path / "w.safetensors")
    brought = read_owner_model(tmp_path / "w.safetensors", "A", 8, trained_on=everything)
    context = context_on(Store(str(tmp_path / "s")))
    keep_index(context.store, everything, digits)
    with pytest.raises(UserError, match="images of each other use"):
        check_cut(context, small_plan(digits, brought.victim).victim)


def test_cuts_around_a_set_stay_cuts(digits_splits: Splits) -> None:
    index = torch.cat([digits_splits.d_v[:100], digits_splits.probe[:30]])
    cut = around(digits_splits, index)
    assert torch.equal(cut.probe, outside_of(digits_splits.probe, index))
    assert torch.equal(cut.attack, digits_splits.attack)
    assert set(cut.d.tolist()) == {*digits_splits.d.tolist(), *index.tolist()}


def test_her_module_keeps_its_preprocessing_in_copies_too(own: Tensor) -> None:
    net = CustomNet("owners_net:make", (1, 8, 8), 10)
    before = net(own[:4])
    net.normalise_by(own)
    assert torch.equal(net(own[:4]), before)


# --- the job


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--preset", "enormous"), "enormous"),
        (("--alpha", "2"), "alpha"),
        (("--groups", "cousins"), "cousins"),
        (("--attacks", "gan"), "gan"),
        (("--model", "her.onnx", "--architecture", "A"), "no gradients"),
        (("--model", "her.pkl", "--architecture", "A"), "pickle"),
        (("--model", "her.safetensors"), "--architecture"),
        (("--mean", "0.5"), "--model"),
        (("--out", "."), "out"),
        (("--data.name", "imagefolder"), "--data-root"),
    ],
)
def test_the_job_refuses_in_one_line(
    arguments: tuple[str, ...],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before anything is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "jobs" / "enroll.py"), *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "jobs" / "enroll.py"), run_name="__main__")
    err = capfd.readouterr().err.splitlines()
    assert end.value.code == 2
    assert len(err) == 1
    assert err[0].startswith("enroll: error: ")
    assert word in err[0]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_another_enrolments_kit_is_seen_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after an hour of it, when the new one is to be written there."""
    save_kit(toy_kit(), tmp_path / "kit")
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    enroll = importlib.import_module("enroll")
    chosen = enroll.parse(["--out", str(tmp_path / "kit"), "--storage", str(tmp_path / "s"), "--workers", "0"])
    with pytest.raises(UserError, match="the kit of another enrolment"):
        enroll.run(chosen)
    assert not list((tmp_path).rglob("model/*"))


def test_the_jobs_configuration_is_the_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "jobs"))
    chosen = importlib.import_module("enroll").parse(
        ["--preset", "digits-large", "--alpha", "0.1", "--groups", "homologous", "same_data"]
    )
    assert isinstance(chosen.config, Config)
    assert chosen.config.zoo.width == 16
    assert (chosen.wanted.alpha, chosen.wanted.groups) == (0.1, ("homologous", "same_data"))
