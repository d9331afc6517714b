import datetime

import pytest
import yaml

from search_spaces.catalogue import parse_space, space_named, space_names
from search_spaces.domains import Choice, Float, Int
from search_spaces.space import Row, Space, assemble, defaults_of, one_of
from trainables.config.paths import flatten, known_paths, parse_config, unflatten
from trainables.errors import ConfigError

LINEAR_OR_CYCLICAL = {
    "objective.kind": Choice(("elbo", "geco")),
    "beta.kind": Choice(("linear", "cyclical"), when={"objective.kind": "elbo"}),
    "beta.warmup": Float(0.1, 0.4, when={"beta.kind": "linear"}),
}


def space(dimensions, fixed=None):
    return Space("mine", fixed or {}, dimensions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Float(4, 0.1),
            "float [4, 0.1]: the low bound must be below the high bound; fix one value by writing it alone",
        ),
        (
            lambda: Int(3, 3),
            "int [3, 3]: the low bound must be below the high bound; fix one value by writing it alone",
        ),
        (lambda: Float(0, 1, log=True), "float [0, 1]: a log scale needs a low bound above 0"),
        (lambda: Int(0, 8, log=True), "int [0, 8]: a log scale needs a low bound above 0"),
        (lambda: Float(0, float("inf")), "bound inf is not a finite number"),
        (lambda: Float(float("nan"), 1), "bound nan is not a finite number"),
        (lambda: Float(False, 1), "bound false is not a finite number"),
        (lambda: Float("small", 1), 'bound "small" is not a finite number'),
        (lambda: Float(None, 1), "bound null is not a finite number"),
        (lambda: Int(1, 2.5), "bound 2.5 is not a whole number; use float"),
        (lambda: Float(0, 1, log="yes"), 'log: "yes" is not allowed; allowed: true or false'),
        (
            lambda: Float(0, 1, relative_to="kapa"),
            'relative_to: "kapa" is unknown; known: kappa_max, kappa_min, or a pair of them',
        ),
        (
            lambda: Float(0, 1, relative_to=("kappa_min", "kappa_max", "kappa_max")),
            'relative_to: ["kappa_min", "kappa_max", "kappa_max"] is unknown; known: kappa_max, kappa_min, or a pair '
            "of them",
        ),
        (
            lambda: Float(1.2, 0.8, relative_to=["kappa_min", "kappa_min"]),
            "float [1.2, 0.8]: the low bound must be below the high bound; fix one value by writing it alone",
        ),
        (lambda: Choice(()), "choice takes a list of options, not []"),
        (lambda: Choice("linear"), 'choice takes a list of options, not "linear"'),
        (lambda: Choice((1, 2, 1.0)), "choice [1, 2, 1] lists an option twice"),
        (lambda: Choice(([1, [2]], [1, [2.0]])), "choice [[1, [2]], [1, [2.0]]] lists an option twice"),
        (lambda: Choice((0.5, float("nan"))), "option nan is not a finite number"),
        (
            lambda: Choice((1, {"a": 2})),
            'option {"a": 2} is neither a number, a word, true, false, null nor a list of them; give a deeper '
            "value a path of its own",
        ),
    ],
)
def test_a_domain_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value) == message


def read(path, options):
    return Space.parse({path: {"choice": yaml.safe_load(options)}}).dimensions[path]


def test_an_argument_of_a_users_model_keeps_the_type_it_was_written_in():
    options = read("model.kwargs.any", "[1e-4, '8', 8, true, 'true', 1, null, 'null', [], ['1', 1]]").options
    expected = [1e-4, "8", 8, True, "true", 1, None, "null", [], ["1", 1]]
    assert list(map(repr, options)) == list(map(repr, expected))


def test_numbers_that_yaml_left_strings_are_numbers():
    assert Float("1e-4", "1e-2", log=True) == Float(1e-4, 1e-2, log=True)
    assert Int("32", "64") == Int(32, 64)
    assert read("beta.warmup", "[1e-4, '8', 400 steps]").options == (1e-4, 8, "400 steps")
    assert read("objective.free_bits", "[[1e-4, '8'], 1]").options == ([1e-4, 8], 1)
    assert isinstance(Int("32", "64").low, int)


@pytest.mark.parametrize("domain", [Float(0.5, 2), Float(1e-4, 1, log=True), Int(1, 9), Int(1, 100, log=True)])
def test_bounds_are_inside_and_the_middle_halves_the_scale(domain):
    assert domain.contains(domain.low)
    assert domain.contains(domain.high)
    assert not domain.contains(domain.low - 1)
    assert not domain.contains(domain.high + 1)
    middle = domain.middle()
    if domain.log:
        assert middle / domain.low == pytest.approx(domain.high / middle)
    else:
        assert middle - domain.low == pytest.approx(domain.high - middle)


def test_only_whole_numbers_are_inside_an_int_and_words_are_in_no_range():
    assert not Int(1, 9).contains(1.5)
    assert not Float(0, 1).contains("auto")
    assert not Float(0, 1).contains(True)


def test_dimensions_stand_after_their_parents():
    reversed_order = dict(reversed(LINEAR_OR_CYCLICAL.items()))
    assert list(space(reversed_order).dimensions) == ["objective.kind", "beta.kind", "beta.warmup"]
    assert space(reversed_order) == space(LINEAR_OR_CYCLICAL)


@pytest.mark.parametrize(
    ("dimensions", "fixed", "message"),
    [
        (
            {"beta.warmpu": Float(0, 0.5)},
            {},
            "space mine: unknown key `beta.warmpu`; did you mean `beta.warmup`?",
        ),
        ({}, {"objective.kapa": 1}, "space mine: unknown key `objective.kapa`; did you mean `objective.kappa`?"),
        (
            {"beta.warmup": Float(0, 0.5, when={"beta.kind": "linear"})},
            {},
            "space mine: beta.warmup: when names beta.kind, which the space neither fixes nor varies; "
            "add it to the space",
        ),
        (
            {"beta.warmup": Float(0, 0.5, when={"beta.kind": ["linear", "liner"]}), "beta.kind": Choice(("linear",))},
            {},
            "space mine: beta.warmup: when names beta.kind = liner, which never holds; beta.kind is linear",
        ),
        (
            {"beta.warmup": Float(0, 0.5, when={"beta.kind": "linear"})},
            {"beta.kind": "cyclical"},
            "space mine: beta.warmup: when names beta.kind = linear, which never holds; beta.kind is cyclical",
        ),
        (
            {"beta.warmup": Float(0, 0.5, when={"batch_size": 32}), "batch_size": Int(16, 64)},
            {},
            "space mine: beta.warmup: when names batch_size, which is a range; "
            "a condition needs a choice or a fixed value",
        ),
        (
            {
                "beta.kind": Choice(("linear",), when={"lr.kind": "clr"}),
                "lr.kind": Choice(("clr",), when={"beta.kind": "linear"}),
            },
            {},
            "space mine: conditions form a circle: beta.kind → lr.kind → beta.kind",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(dimensions, fixed, message):
    with pytest.raises(ConfigError) as error:
        space(dimensions, fixed)
    assert str(error.value) == message


def test_conditions_hold_through_every_generation():
    mine = space(LINEAR_OR_CYCLICAL)
    assert mine.active({"objective.kind": "elbo", "beta.kind": "linear"}) == list(LINEAR_OR_CYCLICAL)
    assert mine.active({"objective.kind": "elbo", "beta.kind": "cyclical"}) == ["objective.kind", "beta.kind"]
    assert mine.active({"objective.kind": "geco", "beta.kind": "linear"}) == ["objective.kind"]


def test_a_fixed_value_is_a_parent_too():
    dimension = {"beta.warmup": Float(0.1, 0.4, when={"beta.kind": "linear"})}
    assert space(dimension, {"beta.kind": "linear"}).active({}) == ["beta.warmup"]


# --- joining ----------------------------------------------------------------------------------------------------------


def test_the_later_space_replaces_the_earlier_path_by_path():
    early = Space("early", {"seed": 1, "epochs": 10}, {"lr.base": Float(0.1, 0.2), "batch_size": Int(8, 16)})
    late = Space("late", {"batch_size": 32, "seed": 2}, {"epochs": Int(1, 3), "lr.base": Float(0.3, 0.4)})
    both = early + late
    assert both == Space("early+late", {"batch_size": 32, "seed": 2}, {"epochs": Int(1, 3), "lr.base": Float(0.3, 0.4)})


def test_narrowing_a_choice_drops_what_can_no_longer_be_reached():
    narrowed = space_named("geco-vs-annealing") + space({"beta.kind": Choice(("linear",))})
    assert {"beta.period", "beta.ratio"}.isdisjoint(narrowed.dimensions)
    assert {"beta.warmup", "beta.end", "objective.kappa"} <= set(narrowed.dimensions)
    without_elbo = space_named("geco-vs-annealing") + space({}, {"objective.kind": "geco"})
    assert set(without_elbo.dimensions) == {"objective.kappa"}


def test_what_replaces_a_conditional_dimension_keeps_its_condition():
    mine = space_named("geco-vs-annealing") + space({"beta.warmup": Float(0, 0.1)}, {"beta.kind": "linear"})
    assert mine.dimensions["beta.kind"] == Choice(("linear",), when={"objective.kind": "elbo"})
    assert mine.dimensions["beta.warmup"].when == {"objective.kind": ("elbo",), "beta.kind": ("linear",)}
    assert mine.active({"objective.kind": "geco"}) == ["objective.kind", "objective.kappa"]


def test_one_of_refuses_branches_that_disagree():
    early, late = (
        Space("a", {"beta.kind": kind}, {"beta.end": Float(0, end)}) for kind, end in (("linear", 1), ("cyclical", 2))
    )
    with pytest.raises(ValueError, match=r"^beta\.end differs between the branches of beta\.kind$"):
        one_of("either", "beta.kind", early, late)
    with pytest.raises(ValueError, match=r"^the branches of beta\.kind fix other paths differently$"):
        one_of("either", "beta.kind", early, Space("b", {"beta.kind": "cyclical", "seed": 1}, {}))


def test_one_of_draws_each_dimension_in_its_own_branches():
    parts = [
        Space(kind, {"lr.kind": kind, "seed": 3}, dimensions)
        for kind, dimensions in {
            "constant": {"lr.base": Float(1, 2), "lr.warmup": Float(0, 1)},
            "clr": {"lr.base": Float(1, 2), "lr.max": Float(3, 4), "lr.warmup": Float(0, 1)},
            "one-cycle": {"lr.max": Float(3, 4), "lr.warmup": Float(0, 1)},
        }.items()
    ]
    joined = one_of("any", "lr.kind", *parts)
    assert joined.fixed == {"seed": 3}
    for part in parts:
        active = joined.active({"lr.kind": part.name})
        assert set(active) == {"lr.kind", *part.dimensions}
        assert all(joined.dimensions[path].levels() == domain.levels() for path, domain in part.dimensions.items())
    assert joined.dimensions["lr.warmup"].when == {}


# --- YAML -------------------------------------------------------------------------------------------------------------

USER_SPACE = """
objective.kind: {choice: [elbo, geco]}
beta.kind: {choice: [linear, cyclical], when: {objective.kind: elbo}}
beta.warmup: {float: [0.05, 0.5], when: {beta.kind: linear}}
objective.kappa: {float: [1e-4, 0.2], log: true, when: {objective.kind: [geco]}}
batch_size: {int: [16, 64], log: true}
lr.scaling: sqrt
"""


def test_a_users_yaml_is_read_as_written():
    assert Space.parse(yaml.safe_load(USER_SPACE)) == Space(
        "custom",
        {"lr.scaling": "sqrt"},
        {
            "objective.kind": Choice(("elbo", "geco")),
            "beta.kind": Choice(("linear", "cyclical"), when={"objective.kind": "elbo"}),
            "beta.warmup": Float(0.05, 0.5, when={"beta.kind": "linear"}),
            "objective.kappa": Float(1e-4, 0.2, log=True, when={"objective.kind": "geco"}),
            "batch_size": Int(16, 64, log=True),
        },
    )


@pytest.mark.parametrize("written", [USER_SPACE, *space_names()])
def test_yaml_round_trip(written):
    original = Space.parse(yaml.safe_load(written)) if "\n" in written else space_named(written)
    again = Space.parse(yaml.safe_load(yaml.safe_dump(original.to_mapping())))
    assert (again.fixed, again.dimensions) == (original.fixed, original.dimensions)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "beta.end: {float: [4, 1]}",
            "space: beta.end: float [4, 1]: the low bound must be below the high bound; "
            "fix one value by writing it alone",
        ),
        ("beta.end: {float: 4}", "space: beta.end: float takes [low, high], not 4"),
        ("beta.end: {float: [1, 2, 3]}", "space: beta.end: float takes [low, high], not [1, 2, 3]"),
        ("batch_size: {int: [on, 8]}", "space: batch_size: bound true is not a finite number"),
        ("beta.end: {float: [1, 2], lgo: true}", "space: beta.end: unknown key `lgo`; did you mean `log`?"),
        ("beta.kind: {choice: [linear], log: true}", "space: beta.kind: unknown key `log`; known: when"),
        (
            "beta.end: {floats: [1, 2]}",
            'space: beta.end: {"floats": [1, 2]} must have exactly one of float, int, choice',
        ),
        (
            "beta.end: {float: [1, 2], int: [1, 2]}",
            'space: beta.end: {"float": [1, 2], "int": [1, 2]} must have exactly one of float, int, choice',
        ),
        (
            "beta.end: {float: [1, 2], when: linear}",
            'space: beta.end: when: "linear" is not allowed; write {PATH: VALUE}',
        ),
        ("lr: {base: {float: [1, 2]}}", f"space: unknown key `lr`; known: {', '.join(known_paths())}"),
        ("off: {float: [1, 2]}", f"space: unknown key `False`; known: {', '.join(known_paths())}"),
        ("beta.ned: 2", "space custom: unknown key `beta.ned`; did you mean `beta.end`?"),
    ],
)
def test_a_mistake_in_yaml_is_named(written, message):
    with pytest.raises(ConfigError) as error:
        Space.parse(yaml.safe_load(written))
    assert str(error.value) == message


def test_a_value_that_cannot_stand_in_for_a_dimension_is_named():
    with pytest.raises(ConfigError) as error:
        Space.parse({"objective.kappa": datetime.date(2020, 1, 1)}, onto=space_named("geco-vs-annealing"))
    assert str(error.value) == (
        'space: objective.kappa: option "2020-01-01" is neither a number, a word, true, false, null nor a list of '
        "them; give a deeper value a path of its own"
    )


@pytest.mark.parametrize("written", ["[24, 16]", "[[24, 16]]"])
def test_a_condition_on_a_list_needs_no_second_brackets(written):
    mine = Space.parse(
        yaml.safe_load(f"""
model.hidden: {{choice: [[16], [24, 16]]}}
lr.base: {{float: [1, 2], when: {{model.hidden: {written}}}}}
""")
    )
    assert mine.active({"model.hidden": [16]}) == ["model.hidden"]
    assert mine.active({"model.hidden": [24, 16]}) == ["model.hidden", "lr.base"]
    assert Space.parse(mine.to_mapping()) == mine


def test_values_of_a_condition_are_values_where_each_is_one():
    dimension = {"objective.free_bits": {"choice": [0.1, 0.2, 0.3, [0.1, 0.2]]}}
    mine = Space.parse({**dimension, "lr.base": {"float": [1, 2], "when": {"objective.free_bits": [0.1, 0.2]}}})
    active = [len(mine.active({"objective.free_bits": option})) for option in (0.1, 0.2, 0.3, [0.1, 0.2])]
    assert active == [2, 2, 1, 1]


# --- configurations ---------------------------------------------------------------------------------------------------


def test_the_assignment_overlays_the_space_and_the_space_the_users_part():
    mine = Space("mine", {"seed": 2, "epochs": 5}, {"lr.base": Float(1e-4, 1e-2)})
    tree = assemble({"seed": 1, "epochs": 9, "lr": {"base": 0.5, "warmup": 0.1}}, mine, {"lr.base": 1e-3})
    assert tree == {"seed": 2, "epochs": 5, "lr": {"base": 1e-3, "warmup": 0.1}}


@pytest.mark.parametrize("base", [{"beta": {"end": 2, "warmup": 0.1}}, {"beta.end": 2, "beta.warmup": 0.1}])
def test_what_the_chosen_kind_does_not_have_leaves_the_users_part(base):
    mine = space_named("geco-vs-annealing")
    assert assemble({**base, "objective.kappa": 0.2}, mine, {"objective.kind": "elbo", "beta.kind": "cyclical"}) == {
        "objective": {"kind": "elbo"},
        "beta": {"kind": "cyclical", "end": 2},
    }
    assert assemble({**base, "objective.kappa": 0.2}, mine, {"objective.kind": "geco"}) == {
        "objective": {"kind": "geco", "kappa": 0.2}
    }


def test_a_schedule_in_the_users_part_leaves_where_the_space_fixes_geco():
    tree = assemble({"beta": {"kind": "linear", "warmup": 0.4}}, space_named("geco"), {"objective.kappa": 0.2})
    assert tree == {"objective": {"kind": "geco", "kappa": 0.2}}


def test_a_contradiction_in_the_users_own_part_is_not_hidden():
    base = {"objective": {"kind": "geco"}, "beta": {"end": 2}}
    with pytest.raises(ConfigError, match=r"^beta does not exist under objective\.kind geco"):
        parse_config(assemble(base, space_named("lr"), {"lr.base": 1e-3}))


def test_a_key_that_no_kind_has_is_an_error():
    with pytest.raises(ConfigError) as error:
        assemble({"objective": {"kapa": 0.2}}, space_named("linear"), {})
    assert str(error.value) == "unknown key `objective.kapa`; did you mean `objective.kappa`?"


@pytest.mark.parametrize("objective", ["elbo", "free-bits", "geco"])
@pytest.mark.parametrize("beta", ["constant", "linear", "cyclical"])
def test_the_defaults_of_kinds_are_those_of_a_parsed_configuration(objective, beta):
    tree = {"objective": {"kind": objective}} | ({} if objective == "geco" else {"beta": {"kind": beta}})
    kinds = {"objective.kind": objective, "beta.kind": beta, "lr.kind": "clr", "data.name": "mnist"}
    expected = parse_config({**tree, "lr": {"kind": "clr"}, "data": {"name": "mnist"}})
    assert defaults_of(kinds) == flatten(expected.model_dump())


@pytest.mark.parametrize("name", space_names())
def test_the_default_is_a_draw_of_the_space_that_keeps_what_it_can(name):
    mine = space_named(name).scaled(0.27)
    default = mine.default({})
    assert list(default) == mine.active(default)
    assert all(mine.dimensions[path].contains(value) for path, value in default.items())
    kinds = {path: value for path, value in default.items() if path.endswith(".kind")}
    untouched = flatten(parse_config(unflatten({**mine.fixed, **kinds})).model_dump())
    for path, domain in mine.dimensions.items():
        if path in default and domain.contains(untouched[path]):
            assert default[path] == untouched[path]


def test_the_default_follows_data_set_user_and_kind():
    assert space_named("batch-size").default({"data": {"name": "mnist"}})["batch_size"] == 128
    assert space_named("batch-size").default({})["batch_size"] == 32
    assert space_named("lr").default({"lr": {"base": "5e-3"}}) == {"lr.base": 5e-3}
    assert space_named("lr").default({"lr": {"base": 5}}) == {"lr.base": pytest.approx((3e-4 * 1e-2) ** 0.5)}
    assert space_named("clr").default({"data.name": "mnist"})["lr.base"] == 5e-4


def test_relative_bounds_become_absolute_and_others_stay():
    scaled = space_named("geco-vs-annealing").scaled(0.25)
    assert scaled.dimensions["objective.kappa"] == Float(
        0.9 * 0.125, 0.8 * 0.25, log=True, when={"objective.kind": "geco"}
    )
    assert scaled.scaled(0.5) == scaled
    assert scaled.dimensions["beta.end"] == space_named("geco-vs-annealing").dimensions["beta.end"]


PAIR = {"float": [1.05, 0.8], "log": True, "relative_to": ["kappa_min", "kappa_max"]}


def test_each_bound_has_a_reference_of_its_own():
    space = Space.parse({"objective.kind": "geco", "objective.kappa": PAIR})
    assert space.to_mapping()["objective.kappa"] == PAIR
    assert space.scaled(0.25, 0.1).dimensions["objective.kappa"] == Float(1.05 * 0.1, 0.8 * 0.25, log=True)
    assert str(space.dimensions["objective.kappa"]) == "1.05 × kappa_min to 0.8 × kappa_max (log)"
    same = {"float": [1.05, 2], "relative_to": "kappa_min"}
    assert Space.parse({"objective.kappa": {**same, "relative_to": ["kappa_min"] * 2}}).to_mapping() == {
        "objective.kappa": same
    }


@pytest.mark.parametrize("low", [0.1, 1.05, 2.0, 40.0])
def test_before_the_reach_is_known_there_is_a_range_all_the_same(low):
    domain = Float(low, 0.8, relative_to=["kappa_min", "kappa_max"])
    preliminary = domain.scaled(0.25)
    assert preliminary.low < preliminary.high == 0.8 * 0.25


def test_references_that_leave_no_range_are_named():
    space = Space.parse({"objective.kind": "geco", "objective.kappa": PAIR})
    with pytest.raises(ConfigError) as error:
        space.scaled(0.25, 0.2)
    assert str(error.value) == (
        "space: objective.kappa: 1.05 × kappa_min to 0.8 × kappa_max (log) is 0.21 to 0.2 here, and the low bound must "
        "be below the high bound; give the bounds as numbers"
    )


def test_a_space_is_printed_as_path_range_and_condition():
    rows = parse_space("geco-vs-annealing+batch-size").describe()
    assert rows[:3] == [
        Row("lr.warmup", "fixed at 0.1", ""),
        Row("objective.kind", "elbo | free-bits | geco", ""),
        Row("batch_size", "32 | 64 | 128 | 256", ""),
    ]
    assert Row("objective.kappa", "0.9 × kappa_min to 0.8 × kappa_max (log)", "objective.kind = geco") in rows
    assert Row("beta.warmup", "0 to 0.5", "objective.kind = elbo, beta.kind = linear") in rows
