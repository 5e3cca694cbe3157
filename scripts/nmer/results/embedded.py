"""Embed files in the page as data URIs, so that the page can be e-mailed with its downloads."""

from __future__ import annotations

import base64
import gzip
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from nmer.errors import DataError

LARGEST_PLAIN = 100_000
"""Size in bytes above which a text file is compressed. The scores of the paper's grid have 10 MB."""

TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".tex": "application/x-tex",
}


class File(NamedTuple):
    """A file for download. label: printed text. name: name of the downloaded file. address: a data URI."""

    label: str
    name: str
    address: str


def embed(path: str | Path, label: str = "") -> File:
    """Embed a file. label: by default its suffix. Raises DataError if it cannot be read."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Make it again.") from None
    label = label or path.suffix[1:].upper()
    if path.suffix != ".pdf" and len(content) > LARGEST_PLAIN:
        # Without a time stamp, equal data give equal pages.
        return File(f"{label} (gzip)", f"{path.name}.gz", data_uri(gzip.compress(content, mtime=0), "application/gzip"))
    return File(label, path.name, data_uri(content, TYPES.get(path.suffix, "application/octet-stream")))


def data_uri(content: bytes, media_type: str) -> str:
    """Return bytes as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def embed_image(path: str | Path) -> str:
    """Return a PNG as a data URI, reduced to 256 colours, which charts do not exceed, at a third of the size.

    Raises OSError if the file is missing or is not an image.
    """
    packed = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return data_uri(packed.getvalue(), "image/png")
