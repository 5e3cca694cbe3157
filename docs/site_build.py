"""Hooks of the documentation site, which MkDocs calls (key ``hooks`` of mkdocs.yml).

Equations are between dollar signs, as on GitHub, and become MathML. Browsers show MathML without scripts or fonts from
other servers, so the site works without a network.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

EQUATION = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
"""HTML that the Markdown extension arithmatex writes for an inline or block equation."""

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>\.\./[^)#]+)[^)]*\)")
"""Link to a parent folder, which may be a file of the repository outside the documentation."""

LOADED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//|<link[^>]*rel="stylesheet"[^>]*href="https?://')
"""Script, picture or style that a browser would load from another server."""


def on_page_markdown(markdown: str, page: object, config: dict, **_: object) -> str:
    """Replace links to files outside the documentation by their text, because the site does not contain them."""

    def within(link: re.Match) -> str:
        target = (Path(page.file.abs_src_path).parent / link["path"]).resolve()
        return link[0] if target.is_relative_to(Path(config["docs_dir"]).resolve()) else link["text"]

    return LINK.sub(within, markdown)


def on_page_content(content: str, **_: object) -> str:
    """Convert equations to MathML."""

    def mathml(equation: re.Match) -> str:
        tex = html.unescape(equation["tex"]).strip()
        return f"<p>{convert(tex, display='block')}</p>" if equation["tag"] == "div" else convert(tex)

    return EQUATION.sub(mathml, content)


def on_post_page(output: str, page: object, **_: object) -> str:
    """Raise PluginError for a page that loads anything from another server."""
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: loads something from another machine: {found[0]}")
    return output
