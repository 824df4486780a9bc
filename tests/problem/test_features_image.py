"""Pictures: every kind of file becomes the right pixels, or a reason."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Pillow

from polymath.problem import Image
from polymath.problem.features._pictures import image_hashes


def column(values):
    return pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])


def encoded(picture, form="PNG", **settings):
    buffer = io.BytesIO()
    picture.save(buffer, form, **settings)
    return buffer.getvalue()


def decoded(content, **settings):
    """Pixels [C, H, W] of one picture, as RGB unless said otherwise."""
    feature = Image(name="i", **{"channels": 3, "height": 4, "width": 4, **settings})
    found = feature.encode(column([content]))
    assert not found.bad, found.bad
    return found.array[0]


RED = Pillow.new("RGB", (4, 4), (255, 0, 0))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(RED), (255, 0, 0)),
        (encoded(RED, "BMP"), (255, 0, 0)),
        (encoded(RED, "GIF"), (255, 0, 0)),
        (encoded(RED, "TIFF"), (255, 0, 0)),
        (encoded(RED, "WEBP", lossless=True), (255, 0, 0)),
        (encoded(RED.quantize(4)), (255, 0, 0)),
        (encoded(Pillow.new("1", (4, 4), 1)), (255, 255, 255)),
        (encoded(Pillow.new("L", (4, 4), 77)), (77, 77, 77)),
        (encoded(Pillow.new("RGBA", (4, 4), (0, 0, 0, 0))), (255, 255, 255)),
        (encoded(Pillow.new("RGBA", (4, 4), (0, 0, 255, 255))), (0, 0, 255)),
        (encoded(Pillow.new("LA", (4, 4), (0, 0))), (255, 255, 255)),
        (encoded(Pillow.fromarray(np.full((4, 4), 65535, np.uint16))), (255, 255, 255)),
        (encoded(Pillow.fromarray(np.full((4, 4), 32896, np.uint16))), (128, 128, 128)),
        (encoded(Pillow.new("F", (4, 4), 0.5), "TIFF"), (128, 128, 128)),
        (encoded(Pillow.new("P", (4, 4), 0), transparency=0), (255, 255, 255)),
    ],
)
def test_kinds_of_files(content, expected):
    assert np.array_equal(decoded(content)[:, 0, 0], expected)


def test_inks_become_colours():
    pixels = decoded(encoded(Pillow.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"))
    assert pixels[0].min() > 200 and pixels[1:].max() < 60


def test_first_picture_of_an_animation():
    content = encoded(RED, "GIF", save_all=True, append_images=[Pillow.new("RGB", (4, 4), (0, 255, 0))] * 3)
    assert decoded(content)[:, 0, 0].tolist() == [255, 0, 0]


def test_a_turned_camera_is_turned_back():
    picture = Pillow.fromarray(np.vstack([np.full((16, 32), 255), np.zeros((16, 32))]).astype(np.uint8))
    exif = Pillow.Exif()
    exif[0x0112] = 3  # upside down
    pixels = decoded(encoded(picture, "JPEG", exif=exif), channels=1)
    assert pixels[0, 0].max() < 30 and pixels[0, -1].min() > 225


def png_bomb(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "no image in a known format"),
        (encoded(Pillow.effect_noise((64, 64), 50))[:900], "is damaged"),
        (encoded(Pillow.effect_noise((64, 64), 50), "JPEG")[:900], "is damaged"),
        (encoded(RED)[:30], "is damaged|no image"),
        (png_bomb(6000, 6000), "has 6000 x 6000 pixels"),
        (png_bomb(60_000, 60_000), "more than 25,000,000 pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image in a known format"),
    ],
)
def test_damaged_pictures_are_named(content, reason, recwarn):
    found = Image(name="i", channels=1, height=4, width=4).encode(column([encoded(RED), content]))
    assert len(found.bad) == 1 and found.bad[0].row == 1 and not found.bad[0].missing
    assert re.search(reason, found.bad[0].reason), found.bad[0]
    assert not found.array[1].any() and not recwarn.list


def test_files_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.png").write_bytes(b"")
    names = [str(tmp_path / "absent.png"), str(tmp_path), str(tmp_path / "pipe"), str(tmp_path / "zero.png"), "\x00"]
    found = Image(name="i", channels=1, height=4, width=4).encode(column([*names, None]))
    assert [bad.row for bad in found.bad] == [0, 1, 2, 3, 4]
    assert [bad.reason for bad in found.bad] == [
        "cannot be read: No such file or directory",
        "is no file",
        "is no file",
        "is empty",
        "is no possible file name",
    ]


def test_size_is_kept_if_all_are_small_and_alike():
    pictures = [encoded(Pillow.new("L", (20, 30), i)) for i in range(5)]
    assert str(Image(name="i").measure(column(pictures)).form) == "map[1x30x20]"
    assert str(Image(name="i", side=15).measure(column(pictures)).form) == "map[1x15x10]"


def test_size_is_the_median_shape():
    pictures = [encoded(Pillow.new("RGB", size, (9, 99, 9))) for size in [(200, 100), (400, 200), (100, 300)]]
    assert str(Image(name="i").measure(column(pictures)).form) == "map[3x32x64]"


def test_grey_pictures_in_colour_files_have_one_channel():
    grey = Pillow.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB")
    assert Image(name="i").measure(column([encoded(grey), encoded(grey, "JPEG")])).channels == 1


def test_shrinking_takes_the_mean():
    checks = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
    assert set(decoded(encoded(Pillow.fromarray(checks)), channels=1).ravel().tolist()) <= {127, 128}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (3, 6, 5)])
def test_arrays(dtype, shape):
    pixels = np.random.default_rng(0).integers(0, 17, (10, *shape)).astype(dtype)
    feature = Image(name="i").measure(column(pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)))
    assert feature.form.size == (6, 5) and feature.channels == (1 if len(shape) == 2 else 3)
    found = feature.encode(column(pa.FixedShapeTensorArray.from_numpy_ndarray(pixels))).array
    flat = pixels if dtype == np.uint8 else np.round(pixels / 16.0 * 255)
    flat = flat[:, None] if len(shape) == 2 else np.moveaxis(flat, -1, 1) if shape[-1] == 3 else flat
    assert np.array_equal(found, flat.astype(np.uint8))


def test_flat_lists_are_square_pictures():
    flat = column([[float(i) for i in range(16)], None, [1.0, 2.0]])
    feature = Image(name="i", low=0, high=15).sized(flat)
    found = feature.encode(flat)
    assert feature.form.size == (4, 4) and found.array[0].ravel().tolist() == [17 * i for i in range(16)]
    assert [bad.row for bad in found.bad] == [2]


def test_text_is_no_picture_unless_it_names_files(tmp_path):
    RED.save(tmp_path / "red.png")
    path = str(tmp_path / "red.png")
    assert Image(name="i", channels=3, height=4, width=4, from_file=False).encode(column([path])).bad
    assert not Image(name="i", channels=3, height=4, width=4).encode(column([path])).bad


def test_near_duplicates_have_equal_hashes():
    generator = np.random.default_rng(0)
    smooth = [Pillow.fromarray(generator.integers(0, 256, (5, 5), dtype=np.uint8)).resize((48, 48)) for _ in range(200)]
    pictures = np.stack([np.asarray(one) for one in smooth])[:, None]
    hashes = image_hashes(pictures)
    assert len(set(hashes.tolist())) == 200
    brighter = image_hashes((pictures * 0.97).astype(np.uint8))
    assert np.mean(brighter == hashes) > 0.8
    flat = np.zeros((3, 1, 8, 8), np.uint8)
    flat[1], flat[2] = 7, 9
    assert image_hashes(flat)[0] == 0 and len(set(image_hashes(flat).tolist())) == 3
