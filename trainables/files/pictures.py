"""Grids of images as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

MIN_SIDE = 28
GAP = 1
GAP_LEVEL = 96


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape can be shown: H×W, or C×H×W with one or three channels."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def write_grid(path: Path, rows: Tensor, shape: tuple[int, ...]) -> None:
    """Rows of flat examples as one picture with gaps, values clipped to [0, 1], small ones enlarged. rows [R, C, D]."""
    levels = (rows.clamp(0, 1) * 255).round().byte().cpu().numpy()
    channels = shape[0] if len(shape) == 3 else 1
    height, width = shape[-2:]
    images: NDArray[np.uint8] = levels.reshape(*levels.shape[:2], channels, height, width)
    images = np.pad(images, ((0, 0), (0, 0), (0, 0), (0, GAP), (0, GAP)), constant_values=GAP_LEVEL)
    n_rows, n_columns = images.shape[:2]
    grid = images.transpose(0, 3, 1, 4, 2).reshape(n_rows * (height + GAP), n_columns * (width + GAP), channels)
    picture = Image.fromarray(grid if channels == 3 else grid[..., 0])
    enlarged = -(-MIN_SIDE // min(height, width))
    picture.resize((picture.width * enlarged, picture.height * enlarged), Image.Resampling.NEAREST).save(path)
