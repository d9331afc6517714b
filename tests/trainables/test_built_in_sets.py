"""Every built-in set, read from tiny files in the layout in which torchvision unpacks its own."""

import hashlib
import pickle
import struct
import sys
import urllib.request
from importlib.machinery import ModuleSpec
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import data_facts, load
from trainables.data.readers import built_in
from trainables.errors import DataError

CPU = torch.device("cpu")
N_TRAIN, N_TEST = 20, 4
ORIGINALS = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "celeba": "celeba",
}


def drawn(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def write_digits(root, monkeypatch):
    from sklearn.datasets import load_digits

    return {"train": load_digits().images}


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_mnist(root, monkeypatch, kind="MNIST"):
    folder = root / kind / "raw"
    folder.mkdir(parents=True)
    images = {"train": drawn(N_TRAIN, 28, 28), "test": drawn(N_TEST, 28, 28)}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images[part])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.zeros(len(images[part]), np.uint8))
    return images


def write_fashion_mnist(root, monkeypatch):
    return write_mnist(root, monkeypatch, "FashionMNIST")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root, monkeypatch, kind="CIFAR10", labels="labels"):
    """The files named by torchvision's own tables, whose MD5 sums alone are exchanged."""
    dataset = getattr(datasets, kind)
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    images = {"train_list": drawn(N_TRAIN, 3, 32, 32), "test_list": drawn(N_TEST, 3, 32, 32)}
    for table, pixels in images.items():
        names = [name for name, _ in getattr(dataset, table)]
        for name, part in zip(names, np.array_split(pixels, len(names)), strict=True):
            batch = {"data": part.reshape(len(part), -1), labels: [0] * len(part)}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        monkeypatch.setattr(dataset, table, [[name, md5(folder / name)] for name in names])
    meta = folder / dataset.meta["filename"]
    meta.write_bytes(pickle.dumps({dataset.meta["key"]: ["thing"]}))
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": md5(meta)})
    return {"train": images["train_list"], "test": images["test_list"]}


def write_cifar100(root, monkeypatch):
    return write_cifar(root, monkeypatch, "CIFAR100", "fine_labels")


def write_celeba(root, monkeypatch):
    """Images whose parts are interleaved; the reference is torchvision's own crop and scaling."""
    folder = root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    parts = [part for part, n in ((0, N_TRAIN), (1, 3), (2, N_TEST)) for _ in range(n)]
    parts = np.random.default_rng(0).permutation(parts).tolist()
    names = [f"{i:06}.jpg" for i in range(1, len(parts) + 1)]
    lines = [f"{name} {part}\n" for name, part in zip(names, parts, strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    usual = transforms.Compose([transforms.CenterCrop(148), transforms.Resize(64)])
    expected = {"train": [], "val": [], "test": []}
    for i, (name, part) in enumerate(zip(names, parts, strict=True)):
        path = folder / "img_align_celeba" / name
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (218, 178, 3), dtype=np.uint8)).save(path)
        with Image.open(path) as image:
            expected[("train", "val", "test")[part]].append(np.asarray(usual(image)).transpose(2, 0, 1))
    return {part: np.stack(images) for part, images in expected.items()}


WRITERS = {
    "digits": write_digits,
    "mnist": write_mnist,
    "fashion-mnist": write_fashion_mnist,
    "cifar10": write_cifar,
    "cifar100": write_cifar100,
    "celeba": write_celeba,
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise URLError("there is no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture(params=readers.DATASETS)
def name(request):
    return request.param


@pytest.fixture
def written(name, tmp_path, monkeypatch):
    """A set's images by official part, whose files lie in tmp_path."""
    return WRITERS[name](tmp_path, monkeypatch)


def test_what_is_read_is_what_was_written(name, written, tmp_path):
    found = readers.read(name, tmp_path)
    for part in ("train", "val", "test"):
        images = getattr(found, part)
        assert (images is None) == (part not in written)
        if images is not None:
            assert images.dtype == np.uint8
            assert np.array_equal(images, written[part])
    assert found.scale == (16 if name == "digits" else 255)


def test_a_set_is_prepared_once_and_its_files_are_not_needed_again(name, written, tmp_path):
    readers.read(name, tmp_path)
    if name in ORIGINALS:
        (tmp_path / ORIGINALS[name]).rename(tmp_path / "elsewhere")
    assert np.array_equal(readers.read(name, tmp_path).train, written["train"])
    (prepared,) = (path for path in (tmp_path / "prepared").iterdir() if path.is_dir())
    assert {path.name for path in prepared.iterdir()} == {f"{part}.npy" for part in written}


def test_official_parts_are_never_split_again(name, written, tmp_path):
    first, other = (load(DataConfig(name=name, split_seed=seed), tmp_path, CPU) for seed in (0, 1))
    for part in ("val", "test"):
        same = getattr(first, part).equal(getattr(other, part))
        assert same == (part in written)
        if part in written:
            assert np.array_equal(getattr(first, part), written[part].reshape(len(written[part]), -1))
    own = [first.train.tensor(CPU), *(getattr(first, part) for part in ("val", "test") if part not in written)]
    assert sorted(torch.cat(own).tolist()) == sorted(written["train"].reshape(len(written["train"]), -1).tolist())


def test_facts_and_values(name, written, tmp_path):
    config = DataConfig(name=name, n_train=10)
    facts, found = data_facts(config, tmp_path), load(config, tmp_path, CPU)
    assert facts.shape == found.shape == written["train"].shape[1:]
    assert (facts.n_train, facts.n_val, facts.n_test) == (10, len(found.val), len(found.test))
    train = found.train.tensor(CPU)
    assert train.dtype == torch.uint8
    assert facts.train_bytes == train.nbytes
    everything = torch.cat([train, found.val, found.test])
    assert (found.floats(everything) == everything.float() / found.scale).float().mean() > 0.5
    assert (found.floats(everything) - everything.double() / found.scale).abs().max() < 1e-7
    assert (facts.low, facts.high, facts.bits) == (
        everything.min() / found.scale,
        everything.max() / found.scale,
        False,
    )
    x = train.double() / found.scale
    assert facts.kappa_max["re"] == pytest.approx(float(x.var(0, correction=0).mean().sqrt()), rel=1e-9)


def test_a_set_that_could_not_be_finished_is_not_taken_for_one(tmp_path, monkeypatch):
    """The parts are written one after the other; those to train on, which say that all is there, last."""
    write_celeba(tmp_path, monkeypatch)
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    lines = partition.read_text().splitlines()
    broken = next(line.split()[0] for line in lines if line.endswith(" 1"))
    image = tmp_path / "celeba" / "img_align_celeba" / broken
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    with pytest.raises(DataError):
        readers.read("celeba", tmp_path)
    image.write_bytes(whole)
    found = readers.read("celeba", tmp_path)
    assert [len(part) for part in (found.train, found.val, found.test)] == [N_TRAIN, 3, N_TEST]


@pytest.mark.parametrize("side", [8, 32])
def test_celeba_at_another_size_is_another_set(side, tmp_path, monkeypatch):
    write_celeba(tmp_path, monkeypatch)
    assert readers.read("celeba", tmp_path, side).test.shape == (N_TEST, 3, side, side)
    assert readers.read("celeba", tmp_path).test.shape == (N_TEST, 3, 64, 64)


def test_celebas_crop_is_the_central_148_pixels(tmp_path, monkeypatch):
    """Red outside, blue inside: nothing of the outside is seen, and all of the inside."""
    write_celeba(tmp_path, monkeypatch)
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[35:183, 15:163] = (0, 0, 255)
    for path in (tmp_path / "celeba" / "img_align_celeba").iterdir():
        Image.fromarray(pixels).save(path, quality=100, subsampling=0)
    image = readers.read("celeba", tmp_path).train[0]
    assert image[0, 2:-2, 2:-2].max() < 10
    assert image[2, 2:-2, 2:-2].min() > 245
    assert image[0].max() < 128


class Payload:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_pickle_that_is_not_the_official_one_is_not_executed(name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path, monkeypatch)
    changed = sorted((tmp_path / ORIGINALS[name]).iterdir())[-1]
    changed.write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(DataError):
        readers.read(name, tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", sorted(set(ORIGINALS) - {"celeba"}))
def test_a_download_that_fails(name, tmp_path):
    with pytest.raises(DataError) as error:
        readers.read(name, tmp_path)
    assert str(error.value).startswith(f"data.name: {name} could not be downloaded: ")
    assert str(error.value).endswith(
        f"; put its files into {tmp_path / built_in._TRAIN_AND_TEST[name][1]} or check the connection"
    )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "prepared" / name).exists()


def test_celeba_without_gdown_names_the_extra_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(built_in, "find_spec", lambda module: None)
    with pytest.raises(DataError) as error:
        readers.read("celeba", tmp_path)
    assert str(error.value) == (
        f"data.name: celeba lacks img_align_celeba and list_eval_partition.txt in {tmp_path / 'celeba'}; put it there, "
        "the images unpacked, or install what downloads it: pip install 'vae-tuner[celeba]'"
    )
    assert not (tmp_path / "celeba").exists()


def test_what_celeba_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(built_in, "find_spec", lambda module: None)
    write_celeba(tmp_path, monkeypatch)
    (tmp_path / "celeba" / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"celeba lacks list_eval_partition\.txt in "):
        readers.read("celeba", tmp_path)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a.jpg 0\na.jpg 3\n", "line 2 is 'a.jpg 3' and not a name and 0, 1 or 2"),
        ("a.jpg\n", "line 1 is 'a.jpg' and not a name and 0, 1 or 2"),
        ("a.jpg 0\n", "it has no images for val and test"),
    ],
)
def test_a_damaged_partition_of_celeba_is_told_with_its_line(text, cause, tmp_path, monkeypatch):
    write_celeba(tmp_path, monkeypatch)
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    partition.write_text(text)
    with pytest.raises(DataError) as error:
        readers.read("celeba", tmp_path)
    assert str(error.value) == f"data.name: {partition} cannot be read as celeba's partition: {cause}; replace it"


def test_celebas_downloader_that_fails_is_told_in_one_line(tmp_path, monkeypatch):
    gdown = ModuleType("gdown")
    gdown.__spec__ = ModuleSpec("gdown", None)

    def download(**options):
        raise Exception("Too many users have viewed this file recently.\n\n    Try again later.")

    gdown.download = download
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    with pytest.raises(DataError) as error:
        readers.read("celeba", tmp_path)
    assert str(error.value) == (
        "data.name: celeba could not be downloaded: Too many users have viewed this file recently. Try again later.; "
        f"put its files into {tmp_path / 'celeba'} or check the connection"
    )


def test_a_missing_celeba_image_is_named(tmp_path, monkeypatch):
    write_celeba(tmp_path, monkeypatch)
    missing = tmp_path / "celeba" / "img_align_celeba" / "000003.jpg"
    missing.unlink()
    with pytest.raises(DataError) as error:
        readers.read("celeba", tmp_path)
    assert str(error.value).startswith(f"data.name: {missing} cannot be read as an image: ")
