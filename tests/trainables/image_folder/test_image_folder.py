import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import pixels
from PIL import Image
from torchvision import transforms

from trainables.config import DataConfig
from trainables.data import readers
from trainables.data.dataset import data_facts, load
from trainables.data.readers import image_folder
from trainables.data.readers.image_folder import SUFFIXES
from trainables.data.readers.pixels import read_pixels

# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "channels"), [(".png", ()), (".bmp", ()), (".png", (3,)), (".bmp", (3,)), (".webp", (3,))]
)
def test_what_is_read_is_what_was_saved(suffix, channels, write, read):
    images = [pixels(6, 5, *channels, seed=seed) for seed in range(4)]
    for i, image in enumerate(images):
        write(f"{i}{suffix.upper() if i % 2 else suffix}", image)
    found = read()
    expected = np.stack(images)
    assert np.array_equal(found.train, np.moveaxis(expected, -1, 1) if channels else expected)
    assert (found.train.dtype, found.scale, found.val, found.test) == (np.uint8, 255, None, None)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_read(suffix, write, read):
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    write(f"a{suffix}", image)
    assert np.abs(read().train[0].transpose(1, 2, 0).astype(int) - image).max() <= 3


def test_the_order_is_that_of_the_relative_paths_whenever_they_were_written(write, read):
    names = ["b/10.png", "a.png", "b/9.png", "c.png", "a/z/0.png"]
    for i, name in enumerate(names):
        write(name, np.full((2, 2), i, np.uint8))
    assert read().train[:, 0, 0].tolist() == [names.index(name) for name in sorted(names)]


def test_train_val_and_test_are_official_where_there_is_a_train(write, read, folder, tmp_path):
    for part, n in (("train", 5), ("val", 2), ("test", 3)):
        for i in range(n):
            write(f"{part}/class/{i}.png", np.full((2, 2), 10 * n + i, np.uint8))
    found = read()
    assert [part[:, 0, 0].tolist() for part in (found.train, found.val, found.test)] == [
        [50, 51, 52, 53, 54],
        [20, 21],
        [30, 31, 32],
    ]
    first, other = (
        load(DataConfig(name=str(folder), split_seed=seed), tmp_path / "data", torch.device("cpu")) for seed in (0, 1)
    )
    assert first.val.equal(other.val)
    assert first.test.equal(other.test)


def test_without_a_train_all_are_to_be_split(write, read):
    for part in ("val", "test", "other"):
        write(f"{part}/0.png", pixels(2, 2))
    found = read()
    assert (len(found.train), found.val, found.test) == (3, None, None)


def test_hidden_files_and_others_are_left_out(write, read, folder):
    write("a.png", pixels(2, 2))
    write(".thumbnails/a.png", pixels(3, 3))
    (folder / "._a.png").write_bytes(b"resource fork")
    (folder / "labels.csv").write_text("a,1")
    assert len(read().train) == 1


def test_gray_among_coloured_is_coloured_with_equal_channels(write, read):
    write("a.png", pixels(4, 4))
    write("b.png", pixels(4, 4, 3))
    found = read().train
    assert found.shape == (2, 3, 4, 4)
    assert np.array_equal(found[0], [pixels(4, 4)] * 3)


def test_transparency_is_dropped(write, read):
    rgba = pixels(4, 4, 4)
    write("a.png", rgba)
    palette = Image.fromarray(pixels(4, 4, 3)).quantize(8)
    write("b.png", palette, transparency=bytes([0, 128, 255]))
    found = read().train
    assert np.array_equal(found[0], rgba[..., :3].transpose(2, 0, 1))
    assert np.array_equal(found[1], np.asarray(palette.convert("RGB")).transpose(2, 0, 1))


def test_gray_with_transparency_is_gray(write, read):
    write("a.png", Image.fromarray(pixels(4, 4, 2), "LA"))
    assert np.array_equal(read().train[0], pixels(4, 4, 2)[..., 0])


def test_black_and_white_images_are_bits(write, folder, tmp_path):
    for i in range(6):
        write(f"{i}.png", Image.fromarray(pixels(4, 4, seed=i)).convert("1"))
    facts = data_facts(DataConfig(name=str(folder)), tmp_path / "data")
    assert (facts.low, facts.high, facts.bits) == (0, 1, True)


@pytest.mark.parametrize("shape", [(9, 9), (20, 13), (7, 30, 3), (4, 6, 3), (10, 7)])
@pytest.mark.parametrize("side", [4, 8])
def test_the_largest_central_square_is_scaled_as_by_torchvision(shape, side, write, read):
    write("a.png", pixels(*shape))
    square = transforms.CenterCrop(min(shape[:2]))
    usual = np.asarray(transforms.Resize(side)(square(Image.fromarray(pixels(*shape)))))
    assert np.array_equal(read(side).train[0], usual if usual.ndim == 2 else usual.transpose(2, 0, 1))


def test_images_of_many_sizes_can_be_scaled(write, read):
    write("a.png", pixels(9, 5))
    write("b.png", pixels(30, 40))
    assert read(8).train.shape == (2, 8, 8)


# --- prepared once ----------------------------------------------------------------------------------------------------


def prepared(tmp_path):
    return sorted(path for path in (tmp_path / "data" / "prepared" / "images").iterdir() if path.is_dir())


def test_an_unchanged_folder_is_prepared_once(write, read, tmp_path, monkeypatch):
    write("a.png", pixels(4, 4))
    first = read().train
    monkeypatch.setattr(Image, "open", lambda *arguments: pytest.fail("opened again"))
    assert np.array_equal(first, read().train)
    assert len(prepared(tmp_path)) == 1
    assert {path.name for path in prepared(tmp_path)[0].iterdir()} == {"train.npy"}


def changed_pixels(folder, write):
    write("a.png", pixels(4, 4, seed=1))
    status = (folder / "a.png").stat()
    os.utime(folder / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))


CHANGES = {
    "pixels": changed_pixels,
    "one more": lambda folder, write: write("b.png", pixels(4, 4, seed=2)),
    "one less": lambda folder, write: (folder / "z.png").unlink(),
    "renamed": lambda folder, write: (folder / "a.png").rename(folder / "zz.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_prepared_anew(change, write, read, folder, tmp_path):
    write("a.png", pixels(4, 4))
    write("z.png", pixels(4, 4, seed=3))
    before = read().train
    CHANGES[change](folder, write)
    after = read().train
    assert not np.array_equal(before, after)
    assert len(prepared(tmp_path)) == 2
    expected = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    assert np.array_equal(after, expected)


def test_another_size_and_another_folder_are_other_sets(write, read, folder, tmp_path):
    write("a.png", pixels(4, 4))
    read()
    read(2)
    folder.rename(tmp_path / "renamed")
    readers.read(str(tmp_path / "renamed"), tmp_path / "data")
    assert len(prepared(tmp_path)) == 3


def test_a_relative_name_is_the_same_set(write, read, tmp_path, monkeypatch):
    write("a.png", pixels(4, 4))
    read()
    monkeypatch.chdir(tmp_path)
    readers.read("faces", tmp_path / "data")
    assert len(prepared(tmp_path)) == 1


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_no_such_folder(message):
    assert message() == (
        "data.name: faces does not exist; give the path of a .npy or .npz file, or of a folder of images"
    )


def test_an_empty_folder(message, folder):
    folder.mkdir()
    (folder / "a.txt").write_text("")
    assert message() == (
        "data.name: faces has no images, but 1 .txt; allowed: .png, .jpg, .jpeg, .bmp, .webp, also in sub-folders"
    )


def test_an_empty_train(message, folder, write):
    (folder / "train").mkdir(parents=True)
    write("val/a.png", pixels(2, 2))
    assert message() == "data.name: faces/train has no images; allowed: .png, .jpg, .jpeg, .bmp, .webp"


def test_images_beside_train(message, write):
    write("train/a.png", pixels(2, 2))
    write("valid/b.png", pixels(2, 2))
    assert message() == ("data.name: faces has train/ and also valid/b.png; move it into train/, val/ or test/")


def test_many_sizes(message, write):
    write("train/a.png", pixels(4, 5))
    write("val/b.png", pixels(4, 6))
    assert message() == (
        "data.name: the images of faces differ: train/a.png has 5×4 pixels, val/b.png has 6×4 pixels; "
        "set data.image_size: 64 (or another side) to crop and scale them to squares"
    )


@pytest.mark.parametrize("content", [b"", b"no image", "torn"], ids=["empty", "text", "torn"])
def test_a_file_that_is_no_image(content, message, write, folder, tmp_path):
    write("a.png", pixels(64, 64, 3))
    whole = (folder / "a.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2] if content == "torn" else content)
    found = message()
    assert found.startswith("data.name: faces/b.png cannot be read as an image: ")
    assert found.endswith("; replace or remove it")
    assert not prepared(tmp_path)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, MemoryError, SystemExit])
def test_a_preparation_that_is_cut_short_leaves_nothing(raised, write, read, tmp_path, monkeypatch):
    """Not even the parts that it had finished."""

    def cut_short(path, **options):
        if path.name == "a29.png":
            raise raised
        return read_pixels(path, **options)

    for i in range(30):
        write(f"train/a{i}.png", pixels(4, 4, seed=i))
    write("val/b.png", pixels(4, 4))
    monkeypatch.setattr(image_folder, "read_pixels", cut_short)
    with pytest.raises(raised):
        read()
    assert not prepared(tmp_path)
    monkeypatch.undo()
    assert len(read().train) == 30


def test_a_set_that_does_not_fit_the_disk_is_refused_before_it_is_decoded(message, write, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2 * 3 * 1024**2))
    monkeypatch.setattr(image_folder, "read_pixels", lambda *arguments, **options: pytest.fail("decoded"))
    for i in range(3):
        write(f"{i}.png", pixels(4, 4, 3))
    assert message(1024) == (
        "data.name: faces takes 0.00944 GB when prepared and data/prepared/images has 0.00629 GB free; lower "
        "data.image_size, or choose another folder with --data-dir or VAE_TUNER_DATA"
    )
    assert not prepared(tmp_path)


def test_more_than_8_bits(message, write):
    write("a.png", pixels(4, 4).astype(np.uint16) * 200)
    assert message() == ("data.name: faces/a.png has more than 8 bits a value (mode I;16); save it with 8 bits")


def test_a_folder_that_cannot_be_opened_is_named(message, write, folder, monkeypatch):
    write("a.png", pixels(4, 4))
    write("b/c/a.png", pixels(4, 4))
    scan = os.scandir

    def refused(path):
        if path.name == "c":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert message() == (
        "data.name: faces/b/c cannot be read as a folder: Permission denied; make it readable or move it away"
    )


def test_folders_that_are_too_deep_are_named_in_a_sentence(message, write, folder, monkeypatch):
    write("a.png", pixels(4, 4))
    monkeypatch.chdir(folder)
    for _ in range(20):
        Path("d" * 250).mkdir()
        monkeypatch.chdir("d" * 250)
    found = message()
    assert found.endswith(": File name too long; make it readable or move it away")
    assert len(found) < 600


def test_a_name_that_is_no_text_is_read_and_can_be_named(read, message, write, folder):
    write("a.png", pixels(4, 4))
    odd = folder / os.fsdecode(b"\xff.png")
    shutil.copy(folder / "a.png", odd)
    assert len(read().train) == 2
    odd.write_bytes(b"no image")
    found = message()
    assert found.startswith(r"data.name: faces/\udcff.png cannot be read as an image: ")
    assert found.encode()


# --- what is skipped, and what stands twice ---------------------------------------------------------------------------


def test_files_that_are_skipped_are_counted_by_suffix(write, read, folder):
    write("a.png", pixels(2, 2))
    for name in ("b.TIF", "c.tif", "d.csv", "README", ".hidden.tif"):
        (folder / name).write_text("")
    os.mkfifo(folder / "e.png")
    assert read().notes == (
        "faces: skipped 2 .tif, 1 without a suffix, 1 .csv, 1 .png, which are not images; allowed: .png, .jpg, "
        ".jpeg, .bmp, .webp",
    )


def test_of_many_suffixes_the_rest_is_one_number(write, read, folder):
    write("a.png", pixels(2, 2))
    for number in range(50):
        (folder / f"scan.{number}").write_text("")
    assert (
        read().notes[0].startswith("faces: skipped 1 .0, 1 .1, 1 .10, 1 .11, 1 .12, 1 .13, 44 of other suffixes, which")
    )


@pytest.mark.parametrize(
    ("copies", "n"), [((), 0), (("val/a.png",), 1), (("val/a.png", "test/a.png", "test/b.png"), 3)]
)
def test_files_that_are_the_same_in_two_parts_are_counted(copies, n, write, folder, tmp_path):
    for i, part in enumerate(("train", "val", "test")):
        write(f"{part}/{i}.png", pixels(4, 4, seed=i))
    write("train/twice.png", pixels(4, 4, seed=0))
    for copy in copies:
        shutil.copy(folder / "train" / "0.png", folder / copy)
    assert data_facts(DataConfig(name=str(folder)), tmp_path / "data").n_repeated == n
