import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import data_facts
from trainables.data.readers import arrays
from trainables.errors import ConfigError, DataError


@pytest.fixture
def message(tmp_path):
    """What is said of a name, without the folder in it."""

    def read(name, root=tmp_path):
        with pytest.raises(DataError) as error:
            readers.read(name, root)
        return str(error.value).replace(f"{tmp_path}/", "")

    return read


def test_an_unknown_name_is_answered_with_the_nearest(message):
    assert message("mnst") == (
        "data.name: 'mnst' is not a known data set; did you mean `mnist`?; or a path to .npy or .npz, or to a folder "
        "of images"
    )
    assert message("faces") == (
        "data.name: 'faces' is not a known data set; known: digits, mnist, fashion-mnist, cifar10, cifar100, celeba; "
        "or a path to .npy or .npz, or to a folder of images"
    )


def test_a_missing_file(message, tmp_path):
    assert message(str(tmp_path / "no.npz")) == (
        "data.name: no.npz does not exist; give the path of a .npy or .npz file, or of a folder of images"
    )


def test_a_file_of_another_kind(message, tmp_path):
    (tmp_path / "table.csv").write_text("1,2")
    assert message(str(tmp_path / "table.csv")) == (
        "data.name: table.csv is not a data set; give a .npy or .npz file, or the folder its images are in"
    )


@pytest.mark.parametrize("name", [*sorted({*readers.DATASETS} - {"celeba"}), "x.npy"])
def test_an_image_size_where_it_means_nothing(name, tmp_path):
    with pytest.raises(ConfigError) as error:
        readers.read(name, tmp_path, image_size=32)
    assert str(error.value) == (
        f"data.image_size: 32 has no effect on {name}, whose examples have a fixed size; allowed: none (it scales "
        "celeba and folders of images)"
    )


# --- which names are paths --------------------------------------------------------------------------------------------


def test_a_built_in_name_stays_one_beside_a_file_or_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in readers.DATASETS:
        (tmp_path / name).mkdir()
        assert not readers.is_path(name)
        assert readers.absolute(name) == name
        assert readers.is_path(f"./{name}")
        assert readers.absolute(f"./{name}") == str(tmp_path / name)


def test_files_folders_and_what_has_a_separator_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not readers.is_path("faces")
    (tmp_path / "faces").mkdir()
    assert all(map(readers.is_path, ["faces", "x.npy", "missing.npz", "missing/faces", "~/faces"]))
    assert readers.absolute("faces") == str(tmp_path / "faces")


def test_a_path_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.npy")
    np.save(path, np.zeros((4, 2)))
    with pytest.raises(DataError, match=r"^data\.name: '.*\\udcff\.npy' is not a path: "):
        readers.absolute(str(path))


def test_a_folder_with_an_arrays_suffix_is_a_folder_of_images(message, tmp_path):
    (tmp_path / "x.npy").mkdir()
    assert message(str(tmp_path / "x.npy")).startswith("data.name: x.npy has no images; ")


# --- arrays -----------------------------------------------------------------------------------------------------------


NAN = np.array([[0.0, np.nan], [np.inf, 1.0]])


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (NAN, "data.name: x in x.npy has 2 values that are NaN or infinite; remove or impute them"),
        (
            np.zeros(5),
            "data.name: x in x.npy has shape (5,); allowed: N×D, N×H×W or N×C×H×W, one example a row",
        ),
        (
            np.zeros((2, 2, 2, 2, 2)),
            "data.name: x in x.npy has shape (2, 2, 2, 2, 2); allowed: N×D, N×H×W or N×C×H×W, one example a row",
        ),
        (np.zeros((0, 3)), "data.name: x in x.npy is empty; at least one example is needed"),
        (np.array([["a", "b"]]), "data.name: x in x.npy holds <U1; allowed: numbers"),
        (np.zeros((2, 2), dtype=complex), "data.name: x in x.npy holds complex128; allowed: numbers"),
    ],
    ids=["nan", "1-d", "5-d", "empty", "words", "complex"],
)
def test_arrays_that_cannot_be_trained_on(x, expected, message, tmp_path):
    np.save(tmp_path / "x.npy", x)
    assert message(str(tmp_path / "x.npy")) == expected


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"images": np.zeros((2, 2))},
            "data.name: x.npz has the arrays ['images']; needed: x, or x_train with x_val and x_test",
        ),
        (
            {"x_train": np.zeros((4, 2)), "x_val": np.zeros((4, 3))},
            "data.name: x_val in x.npz has examples of (3,), those to train on are (2,)",
        ),
        (
            {"x_train": np.zeros((4, 2)), "x_test": NAN},
            "data.name: x_test in x.npz has 2 values that are NaN or infinite; remove or impute them",
        ),
        (
            {"x": np.zeros((4, 2)), "x_val": NAN},
            "data.name: x_val in x.npz has 2 values that are NaN or infinite; remove or impute them",
        ),
    ],
    ids=["names", "shapes", "nan in test", "nan in val beside x"],
)
def test_npz_files_that_cannot_be_trained_on(arrays, expected, message, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    assert message(str(tmp_path / "x.npz")) == expected


class Payload:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_pickle_is_refused_and_not_executed(suffix, message, tmp_path):
    path = tmp_path / f"x.{suffix}"
    array = np.array([Payload(tmp_path / "executed")], dtype=object)
    if suffix == "npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, x=array)
    assert message(str(path)).startswith(f"data.name: x.{suffix} cannot be read as a NumPy file without pickles: ")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"], ids=["empty", "text", "torn"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_file_that_is_none_of_numpys(suffix, content, message, tmp_path):
    (tmp_path / f"x.{suffix}").write_bytes(content)
    found = message(str(tmp_path / f"x.{suffix}"))
    assert found.startswith(f"data.name: x.{suffix} cannot be read as a NumPy file without pickles: ")


def test_a_torn_npz(message, tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.zeros((100, 10)))
    (tmp_path / "x.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:500])
    assert message(str(tmp_path / "x.npz")).startswith("data.name: x.npz cannot be read")


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def with_header(content, old, new):
    """A `.npy` file whose header, as long as before, says something else."""
    header = content[:128].replace(old, new).rstrip(b" \n")
    return header.ljust(127) + b"\n" + content[128:]


SQUARE = np.arange(36.0).reshape(9, 4)


def changed_npy(old, new):
    def make(path):
        np.save(path, SQUARE)
        path.write_bytes(with_header(path.read_bytes(), old, new))

    return make


def damaged_member(path):
    np.savez_compressed(path, x=np.random.default_rng(0).random((50, 4)))
    path.write_bytes(flipped(path.read_bytes(), 600))


def changed_directory(at, value):
    """A zip file that says something else of its member at a byte of its directory."""

    def make(path):
        np.savez_compressed(path, x=SQUARE)
        content = path.read_bytes()
        start = content.rindex(b"PK\x01\x02") + at
        path.write_bytes(content[:start] + value + content[start + len(value) :])

    return make


def no_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not an array")


def short_member(path):
    """Its checksum is right, and its directory promises what the header asks for."""
    np.save(path.with_suffix(".npy"), SQUARE)
    whole = path.with_suffix(".npy").read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", whole[:-16])
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02") + 24
    path.write_bytes(content[:at] + len(whole).to_bytes(4, "little") + content[at + 4 :])


def third_format(path):
    with path.open("wb") as file:
        np.lib.format.write_array(file, SQUARE, version=(3, 0))


def damaged_start(path):
    np.savez(path, x=SQUARE)
    path.write_bytes(b"zz" + path.read_bytes())


def huge_member(path):
    """Its checksum is right."""
    changed_npy(b"(9, 4)", b"(9, 4000000000000000)")(path.with_suffix(".npy"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".npy"), "x.npy")


DAMAGED = {
    "bytes before the first member": ("x.npz", damaged_start, "it does not begin like a zip file"),
    "a member with a huge shape": ("x.npz", huge_member, "its header says float64 of shape (9, 4000000000000000)"),
    "a member that ends early": ("x.npz", short_member, "it ends early"),
    "a format for names": ("x.npy", third_format, "format 3.0 is for fields with names; allowed: numbers"),
    "objects of the size of numbers": (
        "x.npy",
        changed_npy(b"'<f8'", b"'|O'"),
        "it holds Python objects; allowed: numbers",
    ),
    "a flipped byte in a compressed member": ("x.npz", damaged_member, ""),
    "an encrypted member": ("x.npz", changed_directory(8, b"\x01"), "x is encrypted"),
    "an unknown compression": (
        "x.npz",
        changed_directory(10, b"\x63"),
        "x is compressed in a way that NumPy does not use (number 99)",
    ),
    "a member larger than what it takes can hold": (
        "x.npz",
        changed_directory(24, b"\xff\xff\xff\x7f"),
        "x cannot hold 2147483647 bytes in the ",
    ),
    "a member that is no array": ("x.npz", no_array, "the magic string is not correct"),
    "a mangled header": ("x.npy", changed_npy(b"'shape'", b"'sh\xffpe'"), "Header does not contain the correct keys"),
    "a header that does not close": ("x.npy", changed_npy(b"(9, 4)", b"(9, 4"), ""),
    "a huge shape": (
        "x.npy",
        changed_npy(b"(9, 4)", b"(9, 4000000000000000)"),
        "its header says float64 of shape (9, 4000000000000000), which takes 288000000000000000 bytes, and it ",
    ),
    "a shape that is smaller": (
        "x.npy",
        changed_npy(b"(9, 4)", b"(9, 3)"),
        "its header says float64 of shape (9, 3), which takes 216 bytes, and it holds 288",
    ),
    "True in the shape": (
        "x.npy",
        changed_npy(b"(9, 4)", b"(True, 36)"),
        "its shape is (True, 36); allowed: whole numbers",
    ),
    "a negative shape": ("x.npy", changed_npy(b"(9, 4)", b"(-9, -4)"), "its shape is (-9, -4); allowed: whole numbers"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_ends_in_one_sentence_that_says_what_to_do(damage, message, tmp_path):
    name, make, cause = DAMAGED[damage]
    make(tmp_path / name)
    found = message(str(tmp_path / name))
    assert found.startswith(f"data.name: {name} cannot be read as a NumPy file without pickles: {cause}")
    assert found.endswith("; save it again with np.save or np.savez")


def test_only_the_arrays_that_are_wanted_are_read(tmp_path):
    """Neither a damaged member beside them nor a pickle is opened."""
    np.savez(tmp_path / "x.npz", x=SQUARE, labels=np.array([{}], dtype=object), z=SQUARE)
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(flipped(content, content.rindex(SQUARE.tobytes())))
    assert np.array_equal(readers.read(str(tmp_path / "x.npz"), tmp_path).train, SQUARE)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "u1", "i8", "b1", "f2", "g"])
def test_what_is_read_is_what_numpy_reads(dtype, save, order, tmp_path):
    values = np.asarray(np.random.default_rng(0).integers(0, 2, (9, 2, 3)), dtype=dtype, order=order)
    save(tmp_path / "x.npz", x=values)
    found = readers.read(str(tmp_path / "x.npz"), tmp_path).train
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert np.array_equal(found, np.load(tmp_path / "x.npz")["x"])


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (
            np.full((4, 2), 1e300),
            "has values up to 1e+300 in size; allowed: at most 1e+15, whose squares float32 can still",
        ),
        (
            np.full((4, 2), -(2**62)),
            "has values up to 4.61e+18 in size; allowed: at most 1e+15, whose squares float32 can ",
        ),
        (np.zeros((4, 0)), "has shape (4, 0): its examples are empty; each needs at least one value"),
        (np.full((4, 2), 2, np.uint8).view(bool), "holds bits that are neither 0 nor 1; save it again with np.save"),
    ],
    ids=["1e300", "large integers", "no values", "bits of 2"],
)
def test_values_that_no_model_can_take_are_named_with_what_to_do(x, expected, suffix, message, tmp_path):
    path = tmp_path / f"x.{suffix}"
    np.save(path, x) if suffix == "npy" else np.savez(path, x=x)
    assert message(str(path)).startswith(f"data.name: x in {path.name} {expected}")


def test_the_largest_values_that_are_allowed_have_finite_facts(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[arrays.LARGEST, -arrays.LARGEST]] * 9))
    facts = data_facts(DataConfig(name=str(tmp_path / "x.npy")), tmp_path)
    assert np.isfinite([facts.low, facts.high, *facts.kappa_max.values()]).all()


def test_a_pipe_is_no_data_set(message, tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    assert message(str(tmp_path / "x.npy")).startswith("data.name: x.npy is not a data set; ")


def test_a_prepared_set_that_was_cut_short_is_made_again(tmp_path):
    whole = readers.read("digits", tmp_path).train.copy()
    path = tmp_path / "prepared" / "digits" / "train.npy"
    path.write_bytes(path.read_bytes()[:-100])
    assert np.array_equal(readers.read("digits", tmp_path).train, whole)


def test_a_folder_that_cannot_be_written(message, tmp_path):
    (tmp_path / "file").write_text("")
    found = message("digits", tmp_path / "file")
    assert found.startswith("data.name: digits could not be prepared in file/prepared/digits: ")
    assert found.endswith("; choose a writable folder with --data-dir or VAE_TUNER_DATA")


def test_processes_that_prepare_together_get_the_same_whole_set(tmp_path):
    program = (
        "import sys; from pathlib import Path; from trainables.data import readers; "
        "print(readers.read('digits', Path(sys.argv[1])).train.astype(int).sum())"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    sums = {worker.communicate()[0].strip() for worker in workers}
    assert sums == {str(readers.read("digits", tmp_path).train.astype(int).sum())}


def test_mnist_is_read_from_its_files(data_dir):
    mnist = readers.read("mnist", data_dir)
    assert mnist.train.shape == (60_000, 28, 28)
    assert mnist.test.shape == (10_000, 28, 28)
    assert mnist.train.dtype == np.uint8
    assert mnist.scale == 255


def test_the_data_folder_is_the_argument_else_the_environments_else_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VAE_TUNER_DATA", raising=False)
    assert readers.data_dir() == tmp_path / ".cache" / "vae-tuner"
    monkeypatch.setenv("VAE_TUNER_DATA", "~/data")
    assert readers.data_dir() == tmp_path / "data"
    assert readers.data_dir(tmp_path / "mine") == tmp_path / "mine"


def test_what_was_shipped_with_the_working_directory_is_found_in_that_of_the_node(tmp_path):
    driver, node = tmp_path / "driver", tmp_path / "node"
    (node / "faces").mkdir(parents=True)
    (node / "x.npy").write_bytes(b"")
    for name in ("x.npy", "faces"):
        assert readers.on_this_node(str(driver / name), driver, node) == str(node / name)
    elsewhere = ("mnist", str(driver / "missing.npy"), str(tmp_path / "x.npy"), "x.npy")
    assert all(readers.on_this_node(name, driver, node) == name for name in elsewhere)


def test_what_has_the_same_path_on_the_node_is_used_there(tmp_path):
    for folder in ("driver", "node"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.npy").write_bytes(b"")
    name = str(tmp_path / "driver" / "x.npy")
    assert readers.on_this_node(name, tmp_path / "driver", tmp_path / "node") == name


def test_arrays_may_hold_an_example_twice(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 4)))
    assert data_facts(DataConfig(name=str(tmp_path / "x.npy")), tmp_path).n_repeated == 0
