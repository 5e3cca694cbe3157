"""Fixtures of the extraction tests: optional packages, and a small release like IEMOCAP's."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

REQUIRED = os.environ.get("NMER_EXTRACTION") == "required"
"""Set by `make test-extract`, which installs the packages: a missing package then fails the tests."""


@pytest.fixture(scope="session")
def needs():
    """Return a function that skips a test if an optional package is not installed."""

    def check(*packages: str) -> None:
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing and not REQUIRED:
            pytest.skip(f"needs {', '.join(missing)}: make extraction")
        assert not missing

    return check


LABELS = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[2.5000, 2.5000, 2.5000]

[12.0 - 13.0]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]
[14.0 - 15.0]\tSes01F_impro01_F002\tfru\t[2.5000, 2.5000, 2.5000]
"""
WORDS = """\
Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me: [LAUGHTER] you said [x]: that?
Ses01F_impro01_M000 [010.0100-011.3925]:
Ses01F_impro01_FXX0 [011.5-012.0]: Mm.
M: sorry
Ses01F_impro01_F002 [014.0000-015.0000]: You knew there was nothing.
Ses01F_impro01_M009 [016.0000-017.0000]: No label.
"""


@pytest.fixture
def release(tmp_path) -> Path:
    """Labels and transcripts of two sessions with one dialogue each, and the stray files of real copies."""
    root = tmp_path / "IEMOCAP_full_release"
    for session, dialogue in ((1, "Ses01F_impro01"), (2, "Ses02M_script01_1b")):
        labels = root / f"Session{session}/dialog/EmoEvaluation"
        words = root / f"Session{session}/dialog/transcriptions"
        (labels / "Categorical").mkdir(parents=True)
        words.mkdir(parents=True)
        content = LABELS.replace("Ses01F_impro01", dialogue)
        (labels / f"{dialogue}.txt").write_text(content if session == 1 else content.replace("\n", "\r\n").rstrip())
        (words / f"{dialogue}.txt").write_text(WORDS.replace("Ses01F_impro01", dialogue))
        (labels / "Categorical" / f"{dialogue}.txt").write_text(content)
        (labels / f"._{dialogue}.txt").write_bytes(b"\x00\x05")
        (labels / ".DS_Store").write_bytes(b"\x00")
    return root
