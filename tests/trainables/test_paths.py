from trainables.config import DEFAULT_KIND, TrialConfig
from trainables.paths import flatten, known_paths, parse_config, plain, suggest, unflatten, variants


def test_known_paths_are_those_of_all_configurations_and_no_more():
    found = {"beta.kind"}
    for family in DEFAULT_KIND:
        for kind in variants(family):
            found |= flatten(plain(parse_config({family: {"kind": kind}}))).keys()
    assert set(known_paths()) == found
    assert len(known_paths()) == len(found)


def test_known_paths_keep_the_order_of_declaration_with_the_kind_first():
    assert [path.partition(".")[0] for path in known_paths() if path.endswith(".kind")] == list(DEFAULT_KIND)
    assert list(dict.fromkeys(path.partition(".")[0] for path in known_paths())) == list(TrialConfig.model_fields)
    assert next(path for path in known_paths() if path.startswith("lr.")) == "lr.kind"


def test_flatten_and_unflatten_are_inverse():
    tree = {"a": {"b": {"c": 1}, "d": None}, "e": [1, {"f": 2}]}
    assert flatten(tree) == {"a.b.c": 1, "a.d": None, "e": [1, {"f": 2}]}
    assert unflatten(flatten(tree)) == tree


def test_a_beta_of_none_is_no_path():
    assert flatten({"beta": None, "seed": 1}) == {"seed": 1}


def test_suggest_names_the_nearest_word_or_all():
    assert suggest("mnst", ["digits", "mnist"]) == "; did you mean `mnist`?"
    assert suggest("faces", ["digits", "mnist"]) == "; known: digits, mnist"
