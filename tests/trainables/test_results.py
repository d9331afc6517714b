import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from trainables.config.paths import parse_config, variants
from trainables.files.pictures import is_image, write_grid
from trainables.files.trial_files import BEST_NAME, FILE_NAME, RESULT_FILES
from trainables.vae import Vae
from trainables.worker.results import config_yaml, write_results


@pytest.fixture
def written(in_memory, trial, tmp_path):
    def write(shape, n=40, **tree):
        x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
        trainer = trial(in_memory(x), model={"latent_dim": 3, **tree.pop("model", {})}, epochs=1, **tree)
        trainer.train_epoch()
        write_results(tmp_path / "trial", trainer)
        return trainer, tmp_path / "trial"

    return write


def size(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.size, picture.mode


def test_a_finished_trial_leaves_its_files(written):
    trainer, folder = written((8, 8))
    assert sorted(path.name for path in folder.iterdir()) == sorted(set(RESULT_FILES) - {BEST_NAME})
    assert Vae.from_file(folder / FILE_NAME).config == trainer.config
    assert parse_config(yaml.safe_load((folder / "config.yaml").read_text())) == trainer.config
    assert size(folder / "samples.png") == ((8 * 9 * 4, 8 * 9 * 4), "L")
    assert size(folder / "reconstructions.png") == ((8 * 9 * 4, 2 * 4 * 9 * 4), "L")


@pytest.mark.parametrize(
    ("shape", "samples", "mode"),
    [((28, 28), (232, 232), "L"), ((30, 40), (328, 248), "L"), ((3, 32, 32), (264, 264), "RGB")],
)
def test_the_size_of_a_picture_is_that_of_its_images(shape, samples, mode, written):
    _, folder = written(shape)
    assert size(folder / "samples.png") == (samples, mode)


@pytest.mark.parametrize("kind", variants("model"))
def test_every_model_leaves_pictures_of_colour_images(kind, written):
    _, folder = written((3, 8, 9), model={"kind": kind})
    assert size(folder / "samples.png") == ((8 * 10 * 4, 8 * 9 * 4), "RGB")
    assert size(folder / "reconstructions.png") == ((8 * 10 * 4, 2 * 4 * 9 * 4), "RGB")


def test_a_users_model_leaves_the_same_files(written, nets):
    _, folder = written((8, 8), model={"kind": f"{nets}:make"})
    assert len(list(folder.iterdir())) == 4


def test_few_validation_images_are_all_shown(written):
    _, folder = written((28, 28), n=5)
    assert size(folder / "reconstructions.png") == ((5 * 29, 2 * 29), "L")


def test_what_is_no_image_has_no_picture(written):
    _, folder = written((6,))
    assert {path.name for path in folder.iterdir()} == {FILE_NAME, "config.yaml"}


def test_only_shapes_of_images_are_images():
    assert [is_image(shape) for shape in [(8, 8), (1, 8, 8), (3, 8, 8), (2, 8, 8), (5,)]] == [True] * 3 + [False] * 2


def test_a_grid_shows_each_image_at_its_place(tmp_path):
    images = torch.arange(6.0).reshape(2, 3, 1).expand(2, 3, 28 * 30) / 5
    write_grid(tmp_path / "grid.png", images, (28, 30))
    with Image.open(tmp_path / "grid.png") as picture:
        shown = np.asarray(picture)
    assert shown.shape == (58, 93)
    cells = shown.reshape(2, 29, 3, 31)
    assert (cells[:, :28, :, :30] == (51 * np.arange(6).reshape(2, 1, 3, 1))).all()
    assert len(np.unique(np.concatenate([cells[:, 28].ravel(), cells[..., 30].ravel()]))) == 1


def test_a_grid_keeps_colours_and_clips(tmp_path):
    image = torch.tensor([2.0, 0.5, -1.0]).repeat_interleave(28 * 28)
    write_grid(tmp_path / "grid.png", image[None, None], (3, 28, 28))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.getpixel((5, 5)) == (255, 128, 0)


def test_configurations_are_written_as_yaml_that_reads_back():
    config = parse_config({"lr": {"base": 1e-5}, "objective": {"kind": "geco"}, "data": {"name": "gesichter/ä.npy"}})
    assert parse_config(yaml.safe_load(config_yaml(config))) == config
