"""What goes along with a job is what its sweep needs, and no more."""

import numpy as np
import pytest

from trainables.errors import UserError
from trainables.source import code_digest
from tuner.cluster import shipment
from tuner.cluster.shipment import SPEC, factories_of, shipment_of
from tuner.sweeps.spec import parse_spec
from tuner.sweeps.yaml_files import read_yaml

STORAGE = "/shared/sweeps"


def write(folder, *names, text="", size=0):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + " " * size)


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def shipped(tree, here, storage=STORAGE, with_data=True):
    return shipment_of(parse_spec(tree), here, storage, with_data=with_data)


OWN = [
    {"config": {"model": {"kind": "nets:make"}}},
    {"space": {"model.kind": {"choice": ["mlp", "nets:make"]}}},
    {"space": {"use": ["lr"], "model.kind": "nets:make"}},
]


@pytest.mark.parametrize("tree", OWN)
def test_a_model_is_found_wherever_the_spec_names_it(tree, here):
    write(here, "nets.py", "unrelated.py")
    assert factories_of(parse_spec(tree)) == ["nets:make"]
    assert set(shipped(tree, here).files) == {"nets.py"}


def test_a_package_goes_whole_but_for_what_is_hidden_or_compiled(here):
    kept = {"nets/__init__.py", "nets/sub/vae.py", "nets/weights.json"}
    write(here, *kept, "nets/.git/config", "nets/.env", "nets/__pycache__/vae.pyc", "nets/sub/__pycache__/x.pyc")
    assert set(shipped({"config": {"model": {"kind": "nets.sub.vae:make"}}}, here).files) == kept


def test_what_a_model_imports_from_beside_it_goes_too(here):
    write(here, "nets.py", text="import blocks.conv as c, torch\nfrom . import own\nfrom .own import x")
    write(here, "blocks/__init__.py")
    write(here, "blocks/conv.py", text="def f():\n    from helpers.deep import x\nimport nets")
    write(here, "helpers.py", "own.py", "torch_like.py")
    found = shipped(OWN[0], here).files
    assert set(found) == {"nets.py", "blocks/__init__.py", "blocks/conv.py", "helpers.py"}


def test_a_model_that_is_not_here_is_installed_there(here):
    assert shipped(OWN[0], here).files == {}


def test_code_that_is_no_python_is_named(here):
    write(here, "nets.py", text="def (")
    with pytest.raises(UserError, match=r"^model\.kind: .*nets\.py is not valid Python; fix it$"):
        shipped(OWN[0], here)


@pytest.mark.parametrize("text", ["x = " + "+".join(["1"] * 100_000), "x = " + "-" * 100_000 + "1"])
def test_code_that_is_too_much_for_python_is_named_by_all_that_read_it(text, here):
    write(here, "nets.py", text="import blocks")
    write(here, "blocks.py", text=text)
    said = f"model.kind: {here}/blocks.py holds an expression that is nested too deeply for Python; write it as several"
    assert refused(OWN[0], here) == said
    with pytest.raises(UserError) as error:
        code_digest("nets", here)
    assert str(error.value) == said


def test_a_module_comes_before_a_folder_that_is_no_package_as_python_finds_them(here):
    write(here, "nets.py", "nets/weights.bin", "nets/vae.py")
    assert set(shipped(OWN[0], here).files) == {"nets.py"}
    write(here, "nets/__init__.py")
    assert set(shipped(OWN[0], here).files) == {"nets/__init__.py", "nets/weights.bin", "nets/vae.py"}
    (here / "nets.py").unlink()
    (here / "nets" / "__init__.py").unlink()
    assert set(shipped(OWN[0], here).files) == {"nets/weights.bin", "nets/vae.py"}


def test_folders_that_are_links_go_along_but_no_circles(here):
    write(here, "nets/__init__.py", "nets/v1/vae.py")
    (here / "nets" / "latest").symlink_to("v1")
    (here / "nets" / "v1" / "up").symlink_to("..")
    assert set(shipped(OWN[0], here).files) == {"nets/__init__.py", "nets/v1/vae.py", "nets/latest/vae.py"}
    write(here, "faces/a/1.png", "faces/b.png")
    (here / "faces" / "more").symlink_to(here / "faces" / "a")
    (here / "faces" / "self").symlink_to(here / "faces")
    (here / "faces" / "a" / "back").symlink_to(here / "faces")
    (here / "faces" / "above").symlink_to(here)
    names = {name.split("/", 2)[2] for name in shipped(of_data("./faces"), here).files}
    assert names == {"faces/b.png", "faces/a/1.png"}, "as its reader finds them: each folder once"


@pytest.mark.parametrize("kind", ["model", "data"])
def test_links_between_many_folders_are_not_followed_for_ever(kind, here, monkeypatch):
    """Twelve folders that hold links to each other have 12! ways through them."""
    monkeypatch.setattr(shipment, "MAX_FILES", 100)
    write(here, "nets/__init__.py", *(f"nets/{i}/a.png" for i in range(12)))
    for i in range(12):
        for j in set(range(12)) - {i}:
            (here / "nets" / f"{i}" / f"to_{j}").symlink_to(f"../{j}")
    if kind == "data":
        assert len(shipped(of_data("./nets"), here).files) == 12
    else:
        assert refused(OWN[0], here) == (
            f"model.kind: {here}/nets holds more than 100 files, those behind links counted wherever they lead; keep "
            "data and links between its folders out of it"
        )


def refused(tree, here):
    with pytest.raises(UserError) as error:
        shipped(tree, here)
    return str(error.value)


@pytest.mark.parametrize(
    "name", ["id_rsa", "host.pem", "deep/tls.KEY", "credentials.json", "aws_credentials", "my-secret.txt", "netrc"]
)
def test_what_looks_like_a_key_is_not_sent(name, here):
    write(here, "nets/__init__.py", f"nets/{name}")
    assert refused(OWN[0], here) == (
        f"model.kind: {here}/nets/{name} looks like a key, which would be sent along; give it another name if it is "
        "none, else take it away from there, and put it on the cluster where the model needs it"
    )


@pytest.mark.parametrize("module", ["credentials", "my_secrets", "api_keys"])
def test_what_a_model_imports_is_looked_at_too(module, here):
    write(here, "nets.py", text="import blocks")
    write(here, "blocks.py", text=f"def f():\n    from {module} import KEY")
    write(here, f"{module}.py")
    assert refused(OWN[0], here).startswith(f"model.kind: {here}/{module}.py looks like a key, ")


KEYS = ("id_rsa", "deep/hf_token.txt", "deep/secrets/prod")
HIDDEN = (".env", ".private/notes.txt")
LINKS = {
    "module": ("own.py", ".", {"config": {"model": {"kind": "own:make"}}}),
    "package": ("nets/weights.bin", "nets", OWN[0]),
    "images": ("faces/a.png", "faces", {"config": {"data": {"name": "./faces"}}}),
}


@pytest.mark.parametrize("target", [*KEYS, *HIDDEN])
@pytest.mark.parametrize("kind", LINKS)
def test_a_link_counts_by_what_it_leads_to(kind, target, here):
    """Where a link may lead: to a key of another name, or to what is not sent by itself."""
    link, folder, tree = LINKS[kind]
    write(here, "nets/__init__.py", "faces/b.png", f"{folder}/{target}")
    (here / link).symlink_to(here / folder / target)
    said = refused(tree, here)
    assert ("is hidden, and" if target in HIDDEN else "looks like a key, ") in said
    if kind != "package" or target in HIDDEN:  # a key in a package is refused by itself
        assert said.split(": ")[1].startswith(f"{here}/{link}, a link to {(here / folder / target).resolve()}, ")


@pytest.mark.parametrize("name", ["nets/id_rsa", "nets/deep/hf_token.txt", "own_secrets.py"])
def test_a_link_counts_by_its_own_name_too(name, here):
    """Whatever it leads to, it is sent under that name."""
    write(here, "nets/__init__.py", "nets/deep/notes.txt", text="import own_secrets")
    (here / name).symlink_to(here / "nets" / "deep" / "notes.txt")
    assert refused(OWN[0], here).startswith(f"model.kind: {here}/{name}, a link to {here}/nets/deep/notes.txt, looks ")


def test_a_package_that_is_a_link_leads_nowhere_else_either(here, tmp_path):
    write(tmp_path, "elsewhere/nets/__init__.py", "elsewhere/nets/notes.txt")
    write(here, ".private/__init__.py", "src/nets/__init__.py", "unrelated.txt")
    outside = (f"leads out of {here}, to {tmp_path}/elsewhere/nets; ", tmp_path / "elsewhere" / "nets")
    for reason, target in (outside, (f"a link to {here}/.private, is hidden", ".private")):
        (here / "nets").symlink_to(target)
        assert reason in refused(OWN[0], here)
        (here / "nets").unlink()
    for target, files in (("src/nets", {"nets/__init__.py"}), (".", set()), ("..", set())):
        (here / "nets").symlink_to(target)
        assert set(shipped(OWN[0], here).files) == files
        (here / "nets").unlink()


@pytest.mark.parametrize("name", ["secret.txt", "own.csv", "id_rsa"])
def test_of_data_only_what_a_reader_opens_goes_along(name, here):
    """A link too is what it leads to."""
    write(here, name)
    (here / "own.npy").symlink_to(name)
    for path in (f"./{name}", "own.npy"):
        assert refused(of_data(path), here).startswith(
            f"data.name: {here}/{name} is not a data set; give a .npy or .npz"
        )


def test_a_package_does_not_lead_out_of_itself(here, tmp_path):
    write(here, "nets/__init__.py")
    write(tmp_path, "private/notes.txt")
    for link, target in (("notes.txt", tmp_path / "private" / "notes.txt"), ("all", tmp_path / "private")):
        (here / "nets" / link).symlink_to(target)
        said = refused(OWN[0], here)
        assert said.startswith(f"model.kind: {here}/nets/{link} leads out of {here}/nets, to {tmp_path}")
        (here / "nets" / link).unlink()


def test_neither_a_module_nor_a_folder_of_images_leads_elsewhere(here, tmp_path):
    write(tmp_path, "elsewhere/own.py", "elsewhere/a.png", "elsewhere/notes.txt")
    write(here, "nets.py", text="import own")
    (here / "own.py").symlink_to(tmp_path / "elsewhere" / "own.py")
    assert refused(OWN[0], here).startswith(f"model.kind: {here}/own.py leads out of {here}, to {tmp_path}/elsewhere")
    write(here, "faces/b.png")
    for link, target in (("a.png", "elsewhere/a.png"), ("more", "elsewhere")):
        (here / "faces" / link).symlink_to(tmp_path / target)
        said = refused(of_data("./faces"), here)
        assert said.startswith(f"data.name: {here}/faces/{link} leads out of {here}/faces, to {tmp_path}/{target}")
        (here / "faces" / link).unlink()


def test_of_a_folder_of_images_only_these_go_along(here):
    """Beside them lie files that its reader never opens, which may be anything."""
    read = {"a.png", "train/b.JPG", "train/c.webp"}
    others = ("id_rsa", "server.pem", "aws_credentials.txt", "notes.csv", ".env", "train/labels.json", "train/x.npy")
    write(here, *(f"faces/{name}" for name in (*read, *others)))
    (here / "faces" / "passwd").symlink_to("/etc/passwd")
    (here / "faces" / "hf_token.txt").symlink_to("a.png")
    assert {name.split("/", 3)[3] for name in shipped(of_data("./faces"), here).files} == read


# --- data -------------------------------------------------------------------------------------------------------------


def of_data(name):
    return {"config": {"data": {"name": name, "n_train": 7}}}


def test_arrays_of_this_machine_stay_in_the_storage_under_their_content(here):
    np.save(here / "own.npy", np.zeros((3, 4)))
    first = shipped(of_data("own.npy"), here)
    ((there, name),) = first.kept.items()
    assert (first.files, there) == ({f"{name}/own.npy": here / "own.npy"}, f"{STORAGE}/.data/{name.split('/')[1]}")
    assert first.spec.config == {"data": {"name": f"{there}/own.npy", "n_train": 7}}
    assert shipped(of_data(str(here / "own.npy")), here).kept == first.kept
    np.save(here / "own.npy", np.ones((3, 4)))
    assert shipped(of_data("own.npy"), here).kept != first.kept


def test_object_storage_keeps_what_a_folder_would(here):
    np.save(here / "own.npy", np.zeros((3, 4)))
    found, in_folder = (shipped(of_data("own.npy"), here, storage) for storage in ("s3://b/x?region=eu", STORAGE))
    ((there, name),) = found.kept.items()
    assert (found.files, [name]) == (in_folder.files, [*in_folder.kept.values()])
    assert there == f"s3://b/x/.data/{name.split('/')[1]}?region=eu"
    assert found.spec.config["data"]["name"] == there.replace("?", "/own.npy?")
    again = shipped(found.spec.model_dump(mode="json"), here, "s3://b/x?region=eu")
    assert (again.files, again.kept, again.spec.config) == ({}, {}, found.spec.config)


def test_with_object_storage_an_absolute_path_is_one_of_every_node(here):
    np.save(here / "own.npy", np.zeros((3, 4)))
    whole = str(here / "own.npy")
    found = shipped(of_data(whole), here, "s3://bucket/sweeps")
    assert (found.files, found.kept, found.spec.config["data"]["name"]) == ({}, {}, whole)
    assert found.notes == [f"{whole} is not sent: every node has to see it there; a path from this folder on would be"]


def test_a_folder_of_images_keeps_its_shape(here):
    write(here, "faces/train/a.png", "faces/train/deep/b.png", "faces/.thumbs/a.png")
    found = shipped(of_data("./faces"), here)
    ((_, name),) = found.kept.items()
    assert set(found.files) == {f"{name}/faces/train/a.png", f"{name}/faces/train/deep/b.png"}


def test_what_lies_in_the_storage_or_on_the_cluster_only_is_left_where_it_is(here):
    np.save(here / "own.npy", np.zeros((3, 4)))
    for name, storage in ((str(here / "own.npy"), str(here)), ("/nowhere/own.npy", STORAGE), ("digits", STORAGE)):
        found = shipped(of_data(name), here, storage)
        assert (found.files, found.kept, found.spec.config["data"]["name"]) == ({}, {}, name)


def test_a_job_of_this_machine_reads_data_where_they_are(here):
    np.save(here / "own.npy", np.zeros((3, 4)))
    found = shipped(of_data("own.npy"), here, with_data=False)
    assert (found.files, found.spec.config["data"]["name"]) == ({}, str(here / "own.npy"))


def test_a_relative_path_that_is_not_here_can_be_nowhere(here):
    with pytest.raises(UserError, match=r"^data\.name: own\.npy does not exist here; give the path of a file"):
        shipped(of_data("own.npy"), here)


# --- all of it --------------------------------------------------------------------------------------------------------


def test_a_shipment_that_is_too_large_names_the_largest_files(here, tmp_path, monkeypatch):
    monkeypatch.setattr(shipment, "MAX_BYTES", 1_000_000)
    write(here, "nets/__init__.py")
    for i, size in enumerate([300_000, 400_000, 100_000, 200_000]):
        write(here, f"nets/part{i}.bin", size=size)
    found = shipped(OWN[0], here)
    found.write(tmp_path)
    write(here, "nets/part4.bin", size=1_000)
    with pytest.raises(UserError) as error:
        shipped(OWN[0], here).write(tmp_path / "none")
    assert str(error.value).startswith(
        f"the job would take 1.0 MB along, and 1 MB are allowed; the largest files: {here}/nets/part1.bin (0.4 MB), "
        f"{here}/nets/part0.bin (0.3 MB), {here}/nets/part3.bin (0.2 MB); put data on the storage that all nodes share"
    )
    assert not (tmp_path / "none").exists()


def test_data_are_measured_before_they_are_read(here, monkeypatch):
    monkeypatch.setattr(shipment, "MAX_BYTES", 10)
    monkeypatch.setattr(shipment, "digest_of", lambda files: pytest.fail("read"))
    write(here, "own.npy", size=11)
    with pytest.raises(UserError, match="the job would take"):
        shipped(of_data("own.npy"), here)


def test_what_is_written_is_what_was_collected_without_secrets(here, tmp_path):
    write(here, "nets.py", text="make = None")
    tree = {**OWN[0], "tracking": {"uri": "http://me:secret@host:5000"}}
    found = shipped(tree, here)
    (tmp_path / "job").mkdir()
    found.write(tmp_path / "job")
    assert (tmp_path / "job" / "nets.py").read_text() == "make = None"
    written = read_yaml(tmp_path / "job" / SPEC)
    assert written["config"] == tree["config"]
    assert written["tracking"]["uri"] is None
