"""Files inside the page, as data URIs: a page that is mailed keeps them. Not for what the page shows."""

from __future__ import annotations

import base64
import gzip
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from nmer.errors import DataError

LARGEST_PLAIN = 100_000
"""Bytes above which a text file is compressed: scores of the paper's grid are 10 MB plain."""

TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".tex": "application/x-tex",
}


class File(NamedTuple):
    """A file for download. label: in print. name: on the reader's disk. address: a data URI."""

    label: str
    name: str
    address: str


def embed(path: str | Path, label: str = "") -> File:
    """Put a file into the page. label: default its suffix. Raises DataError if it cannot be read."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Make it again.") from None
    label = label or path.suffix[1:].upper()
    if path.suffix != ".pdf" and len(content) > LARGEST_PLAIN:
        # Without a time inside, equal data make an equal page.
        return File(f"{label} (gzip)", f"{path.name}.gz", data_uri(gzip.compress(content, mtime=0), "application/gzip"))
    return File(label, path.name, data_uri(content, TYPES.get(path.suffix, "application/octet-stream")))


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def embed_image(path: str | Path) -> str:
    """A PNG as an address, in at most 256 colours: a third of the size, and charts have few colours.

    Raises OSError if the file is missing or no image.
    """
    packed = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return data_uri(packed.getvalue(), "image/png")
