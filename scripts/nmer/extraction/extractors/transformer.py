"""Hidden states of a language model from a local folder, such as bert-large-uncased: one vector per token.

Source: Devlin et al., BERT, NAACL 2019. As for the published lexical features (MMIN's
``preprocess/tools/bert_extractor.py``): the last hidden state, one utterance per call. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from nmer.errors import ConfigError
from nmer.extraction.padding import padded
from nmer.extraction.registry import Extracted, PadTo, Segment, extractor
from nmer.options import Bounds

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


@extractor(
    "transformer",
    modality="l",
    needs=("text",),
    licence="unclear",
    packages=("torch", "transformers", "tokenizers"),
    paths=("model",),
    get={"model": "a model, e.g. the files of huggingface.co/google-bert/bert-large-uncased"},
    required=("model",),
)
def transformer(
    segment: Segment,
    *,
    model: str = "",
    layer: int = -1,
    special_tokens: Literal["keep", "drop"] = "keep",
    max_tokens: Annotated[int, Bounds(3)] = 512,
    pad_to: PadTo = 0,
) -> Extracted:
    """Return one hidden state per token.

    model: folder with ``config.json``, a tokenizer and ``model.safetensors``. layer: index of the hidden state, -1 =
    the last. special_tokens: keep or drop the tokens that the tokenizer adds around a text; with ``drop`` an empty text
    is unusable. max_tokens: longest text in tokens, the rest is cut. pad_to: number of frames to cut or zero-pad to, 0
    = no change. Counts ``tokens`` and ``cut_texts``. Raises ConfigError if the folder is not such a model.
    """
    import torch

    tokenizer, network = _loaded(Path(model))
    whole = tokenizer(segment.text, return_special_tokens_mask=True, verbose=False)
    limit = min(max_tokens, getattr(network.config, "max_position_embeddings", max_tokens))
    encoded = tokenizer(
        segment.text, truncation=True, max_length=limit, return_tensors="pt", return_special_tokens_mask=True
    )
    special = encoded.pop("special_tokens_mask")[0].numpy().astype(bool)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            states = network(**encoded, output_hidden_states=True).hidden_states
    finally:
        torch.set_num_threads(threads)
    if not -len(states) <= layer < len(states):
        raise ConfigError(f"{model}: has hidden states 0 to {len(states) - 1}; 'layer' is {layer}. Correct it.")
    values = states[layer][0].float().numpy().astype(np.float32)
    if special_tokens == "drop":
        values = values[~special]
    if not len(values):
        from nmer.extraction.registry import UnusableError

        raise UnusableError("no_text", "the text contains no tokens")
    cut = len(whole["input_ids"]) > limit
    return Extracted(padded(values, pad_to), {"tokens": len(special), "cut_texts": int(cut)})


@cache
def _loaded(folder: Path) -> tuple[Any, Any]:
    """Load tokenizer and model. Raises ConfigError that names what the folder lacks."""
    check_folder(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
        network = transformers.AutoModel.from_pretrained(str(folder), use_safetensors=True, **options)
    except Exception as error:  # the library raises many types for unreadable files
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{folder}: cannot be loaded as a model ({reason}). Download the folder again.") from None
    return tokenizer, network.eval()


def check_folder(folder: Path) -> None:
    """Raise ConfigError if a folder is not a Transformers model that can be read safely and offline."""
    get = "Get it, e.g. the files of huggingface.co/google-bert/bert-large-uncased"
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: has no config.json, so it is not a Transformers model. {get}.")
    if not list(folder.glob("*.safetensors")):
        raise ConfigError(f"{folder}: has no weights in *.safetensors; other formats (.bin) are not read. {get}.")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ConfigError(f"{folder}: has no tokenizer ({', '.join(TOKENIZERS)}). {get}.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigError(f"{folder / 'config.json'}: is not valid JSON. {get}.") from None
    if "auto_map" in config:
        raise ConfigError(
            f"{folder}: needs custom code (auto_map in config.json), which is not executed. Use another model."
        )
