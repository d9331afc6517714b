"""Links in a folder of images: each folder is read once, and one that leads nowhere is named."""

import pytest
from picture_files import pixels


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"again": "."}, "again"),
        ({"again": ".", "b/again": ".."}, "again, b/again"),
        ({"up": ".."}, "up"),
        ({"b/to_c": "../c", "c/to_b": "../b"}, "b/to_c, c/to_b"),
        ({f"l{i}": "." for i in range(5)}, "l0, l1, l2 and 2 more"),
    ],
)
def test_every_folder_is_read_once_and_links_to_it_are_named(links, said, write, read, folder):
    for name in ("a.png", "b/a.png", "c/a.png"):
        write(name, pixels(2, 2))
    for name, target in links.items():
        (folder / name).symlink_to(target)
    found = read()
    assert found.notes == (
        f"faces: each folder is read once; skipped {said}, leading to one that is read under another name or lies "
        "above",
    )
    assert len(found.train) == 3


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_links_between_many_folders_take_no_longer_than_the_folders(elsewhere, write, read, folder, tmp_path):
    """Twelve folders that hold links to each other have 12! ways through them."""
    for i in range(12):
        write(f"{i}/a.png", pixels(2, 2, seed=i))
    for i in range(12):
        for j in range(12):
            (folder / f"{i}" / f"to_{j}").symlink_to(f"../{j}")
    if elsewhere:
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
        for i in range(12):
            (folder / f"{i:02}").symlink_to(tmp_path / "elsewhere" / f"{i}")
    assert len(read().train) == 12


def test_a_folder_within_a_linked_one_is_read_once_too(write, read, folder, tmp_path):
    write("all/cats/a.png", pixels(2, 2))
    write("all/dogs/a.png", pixels(2, 2))
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "elsewhere" / "all" / "cats")
    (folder / "b").symlink_to(tmp_path / "elsewhere" / "all")
    found = read()
    assert len(found.train) == 2
    assert "skipped b/cats, " in found.notes[0]


def test_a_link_to_a_folder_elsewhere_is_followed(write, read, folder, tmp_path):
    write("a.png", pixels(2, 2))
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    found = read()
    assert (len(found.train), found.notes) == (1, ())


def test_a_link_to_nothing(message, write, folder):
    write("a.png", pixels(4, 4))
    (folder / "b.png").symlink_to("gone.png")
    assert message() == (
        "data.name: faces/b.png cannot be read as an image: No such file or directory; replace or remove it"
    )


def test_a_link_that_leads_nowhere_at_all_is_named(message, write, folder):
    write("b/a.png", pixels(4, 4))
    (folder / "b" / "loop").symlink_to("loop")
    assert message() == (
        "data.name: faces/b/loop cannot be read as a file or a folder: Too many levels of symbolic links; replace or "
        "remove it"
    )
