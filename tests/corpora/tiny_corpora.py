"""Settings of the smallest generated corpora."""

from __future__ import annotations

from nmer.corpora.demo import DemoSettings

TINY = {
    "iemocap_mmin": {"utterances": 100, "dims": {"a": 6, "v": 5, "l": 7}, "frames": {"a": 5, "v": 4, "l": 6}},
    "mosei_pickle": {"utterances": 150, "dims": {"a": 6, "v": 5, "l": 7}, "frames": 6},
}


def demo_settings(layout: str, **generate: object) -> DemoSettings:
    return DemoSettings.from_mapping({"dataset": "tiny", "layout": layout, "generate": {**TINY[layout], **generate}})
