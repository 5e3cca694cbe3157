"""What the site does besides turning Markdown into pages; MkDocs calls these functions (key ``hooks`` of mkdocs.yml).

Equations are written as on GitHub, between dollars. Browsers show MathML by themselves, so they need neither a script
nor a font from elsewhere, and the site can be read without a network.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

EQUATION = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
"""What the Markdown extension arithmatex makes of an equation, in a line and on lines of its own."""

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>\.\./[^)#]+)[^)]*\)")
"""A link that goes up a folder, and so perhaps to a file of the repository that is no page."""

LOADED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="https?://')
"""A script, a picture or a style that a browser would have to fetch from another machine."""


def on_page_markdown(markdown: str, page: object, config: dict, **_: object) -> str:
    """Links to files of the repository, which the site does not have, as their text alone."""

    def within(link: re.Match) -> str:
        target = (Path(page.file.abs_src_path).parent / link["path"]).resolve()
        return link[0] if target.is_relative_to(Path(config["docs_dir"]).resolve()) else link["text"]

    return LINK.sub(within, markdown)


def on_page_content(content: str, **_: object) -> str:
    """Equations as MathML."""

    def mathml(equation: re.Match) -> str:
        tex = html.unescape(equation["tex"]).strip()
        return f"<p>{convert(tex, display='block')}</p>" if equation["tag"] == "div" else convert(tex)

    return EQUATION.sub(mathml, content)


def on_post_page(output: str, page: object, **_: object) -> str:
    """End the build at a page that could not be read offline. Raises PluginError."""
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: loads something from another machine: {found[0]}")
    return output
