"""λ̂ of a run, and a comparison's stages told from those of another."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import geometric_mean

import pytest

from search_spaces.geco import KAPPA
from trainables.config.paths import parse_config, plain, unflatten
from trainables.data import readers
from trainables.errors import UserError
from tuner.comparison.design import LEVELS
from tuner.comparison.request import REACH_FILE, Request, as_begun, design_of
from tuner.running import comparison_stages
from tuner.running.comparison_stages import ComparisonRun, settled_weight
from tuner.running.kappa_min import unreached
from tuner.sweeps.journal import JOURNAL, bytes_of

KEY = "geco/lambda_median"


def of(*medians):
    return settled_weight([{KEY: median} for median in medians])


@pytest.mark.parametrize(("epochs", "used"), [(1, 1), (4, 1), (10, 1), (20, 2), (40, 4)])
def test_the_weight_is_of_the_last_tenth_of_the_epochs_and_at_least_of_one(epochs, used):
    medians = [1.5**epoch for epoch in range(epochs)]
    assert of(*medians) == pytest.approx(geometric_mean(medians[epochs - used :]))


def test_a_constant_weight_is_itself_and_a_rival_has_none():
    assert of(*[3.0] * 30) == pytest.approx(3.0)
    assert settled_weight([{"val/kl": 1.0}]) is None
    assert settled_weight([]) is None


@pytest.fixture
def stages(tmp_path, vae_data_root):
    request = Request("c", methods=("geco", "beta"), epochs=2, quick=True, settings={"data.n_train": 100})
    return ComparisonRun(request, vae_data_root, tmp_path, offline=True)


@pytest.fixture
def begun(stages, tmp_path):
    """begun(runs, more) writes the journal of a pilot of these runs, with so many more, on data of this digest; the
    first trial was trained with this rule for batch sizes."""

    def write(runs, more=0, data=None, scaling=None, base=None):
        base = base or stages.design.base
        of = replace(stages, given_design=replace(stages.design, base=base))
        spec = of.spec("pilot", runs).model_dump(mode="json")
        header = {"seq": 0, "session": "s", "t": 0.0, "event": "header", "name": "c.pilot", "spec": spec} | {
            "data": data
        }
        resume = {"seq": 1, "session": "t", "t": 1.0, "event": "resume", "more": more}
        folder = Path(tmp_path, "c.pilot")
        folder.mkdir(exist_ok=True)
        config = plain(parse_config(unflatten({**base, **runs[0].full, "lr.scaling": scaling or "auto"})))
        ask = {"trial": "0000", "number": 0, "assignment": runs[0].full, "config": config, "method": "geco"}
        ask = {"seq": 1, "session": "s", "t": 0.5, "event": "ask", **ask}
        (folder / JOURNAL).write_bytes(bytes_of([header, *([ask] if scaling else []), *([resume] if more else [])]))

    return write


def test_a_stage_of_the_same_runs_goes_on(stages, begun):
    runs = stages.design.pilot()
    assert stages.begun("pilot", runs) is None
    begun(runs)
    assert stages.begun("pilot", runs).resumable


@pytest.mark.parametrize("factor", [0.5, 1, 3])
def test_a_comparison_goes_on_by_the_learning_rates_it_began_with(factor, stages, begun, ready):
    former = replace(stages.design, rates=tuple(factor * rate for rate in stages.design.rates))
    begun(former.pilot())
    assert replace(ready).design == former


def test_a_comparison_that_begins_takes_the_rates_of_today(stages, tmp_path):
    design, config = design_of(stages.request, stages.data_dir)
    assert as_begun(design, config, tmp_path / "c.pilot") == stages.design


@pytest.mark.parametrize(
    ("batch", "then", "kept"),
    [(64, "linear", {"lr.scaling": "linear"}), (64, "sqrt", {}), (64, None, {}), (32, "linear", {})],
)
def test_a_comparison_goes_on_by_the_rule_for_batch_sizes_it_began_with(batch, then, kept, stages, begun):
    """Its pilot was begun where `auto` was another rule; at batch 32 there is nothing to scale."""
    design = replace(stages.design, base={**stages.design.base, "batch_size": batch})
    asked = replace(stages.request, settings={**stages.request.settings, "batch_size": batch})
    former = replace(stages, request=asked, given_design=design)
    begun(former.design.pilot(), scaling=then, base=design.base)
    ready = replace(stages, request=asked)
    ready.check()
    assert ready.design.base == {**design.base, **kept}
    today = replace(former, given_design=ready.design)
    assert today.begun("pilot", ready.design.pilot()).resumable
    configs = [today.plan(stage, ready.design.pilot()).default for stage in ("pilot", "path")]
    assert {config.lr.scaling for config in configs} == {kept.get("lr.scaling", "sqrt")}


def test_a_stage_of_another_rule_for_batch_sizes_is_refused(stages, begun):
    """As one that was begun by a version which mixed the two."""
    base = {**stages.design.base, "batch_size": 64}
    begun(stages.design.pilot(), scaling="linear", base=base)
    today = replace(stages, given_design=replace(stages.design, base=base))
    with pytest.raises(UserError, match=r"c\.pilot trained other runs"):
        today.begun("pilot", today.design.pilot())


def altered(runs):
    return [replace(runs[0], assignment={**runs[0].assignment, "objective.kappa": 0.1 + 1e-16}), *runs[1:]]


@pytest.mark.parametrize("change", [altered, lambda runs: runs[:-1], lambda runs: runs[::-1]])
def test_a_stage_of_other_runs_is_refused_with_the_way_out(stages, begun, change):
    runs = stages.design.pilot()
    begun(change(runs))
    with pytest.raises(UserError, match=r"^name: c\.pilot trained other runs .* `vae-tuner rm c\.pilot` and repeat"):
        stages.begun("pilot", runs)


def test_a_stage_that_was_given_more_trials_is_refused(stages, begun):
    begun(stages.design.pilot(), more=2)
    with pytest.raises(UserError, match=r"c\.pilot trained other runs"):
        stages.begun("pilot", stages.design.pilot())


def test_a_stage_of_another_fixed_part_is_refused(stages, begun):
    begun(stages.design.pilot())
    longer = replace(stages, given_design=replace(stages.design, base={**stages.design.base, "epochs": 3}))
    with pytest.raises(UserError, match=r"c\.pilot trained other runs"):
        longer.begun("pilot", longer.design.pilot())


@pytest.fixture
def ready(stages, tmp_path):
    """The comparison before anything is measured."""
    (tmp_path / "c").mkdir()
    return stages


def test_levels_begin_at_what_the_model_reaches_which_is_measured_once(ready, tmp_path, monkeypatch):
    asked = []

    def reached(plan, measuring):
        asked.append(plan.biggest)
        return plan.with_reach({"re": 0.1})

    monkeypatch.setattr(comparison_stages, "reached", reached)
    design = ready.within_reach().design
    (config,) = asked
    assert (config.epochs, config.data.n_train, config.lr.base) == (2, 100, ready.design.rates[1])
    assert design == ready.within_reach().design
    assert len(asked) == 1
    assert (tmp_path / "c" / REACH_FILE).exists()
    assert (design.kappas[0], design.kappas[-1]) == pytest.approx((1.05 * 0.1, 0.8 * design.scale.kappa_max))
    ratios = [high / low for low, high in pairwise(design.kappas)]
    assert ratios == pytest.approx([ratios[0]] * 4)
    (drawn, *_) = [run.assignment["objective.kappa"] for run in design.pools() if run.method == "geco"]
    assert KAPPA["re"].low * 0.1 <= drawn <= 0.8 * design.scale.kappa_max


def test_a_failed_measurement_is_told_and_measured_again_at_the_next_start(ready, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(comparison_stages, "reached", lambda plan, measuring: unreached(plan, "its process died"))
    assert replace(ready, on_notes=told.extend).within_reach().design == ready.design.reaching({})
    assert told == ["κ_min could not be measured: its process died; GECO's κ begins at a share of κ_max"]
    (tmp_path / "c" / REACH_FILE).write_text("{}")  # as an earlier version kept it
    monkeypatch.setattr(comparison_stages, "reached", lambda plan, measuring: plan.with_reach({"re": 0.1}))
    assert ready.within_reach().design == ready.design.reaching({"re": 0.1})


def test_a_comparison_from_before_it_was_measured_goes_on_with_its_levels(ready, stages, begun, monkeypatch):
    monkeypatch.setattr(comparison_stages, "reached", lambda plan, measuring: pytest.fail("it has its levels"))
    begun(stages.design.pilot())
    assert ready.within_reach().design == ready.design
    assert ready.design.kappas == [share * ready.design.scale.kappa_max for share in LEVELS]


@pytest.mark.parametrize("share", [0.05 * i for i in range(1, 24)])
def test_levels_rise_below_the_mean_images_error_whatever_the_model_reaches(ready, share):
    limit = ready.design.scale.kappa_max
    kappas = ready.design.reaching({"re": share * limit}).kappas
    assert all(high / low > 1.015 for low, high in pairwise(kappas))
    assert kappas[-1] < limit
    assert kappas[0] >= 1.05 * share * limit or kappas[0] == pytest.approx(0.75 * limit)


def test_a_stage_of_other_data_is_refused_and_one_of_unknown_data_is_not(stages, begun, vae_data_root):
    runs = stages.design.pilot()
    for data in (None, readers.digest("digits", vae_data_root)):
        begun(runs, data=data)
        assert stages.begun("pilot", runs).resumable
    begun(runs, data="0" * 16)
    with pytest.raises(
        UserError, match=r"^name: the data digits are not those of c\.pilot \(digest .* there\); put back"
    ):
        stages.begun("pilot", runs)
