"""The examples in the docstrings of the Python functions."""

import doctest

import tuner


def test_the_examples_give_what_they_show(tmp_path, vae_data_root, monkeypatch):
    monkeypatch.setenv("VAE_TUNER_DATA", str(vae_data_root))
    monkeypatch.chdir(tmp_path)
    found = [
        each
        for name in tuner.__all__
        for each in doctest.DocTestFinder(recurse=False).find(getattr(tuner, name), name, globs={"tuner": tuner})
    ]
    run = [doctest.DocTestRunner().run(each) for each in found]
    assert sum(each.failed for each in run) == 0
    assert sum(each.attempted for each in run) >= 3
