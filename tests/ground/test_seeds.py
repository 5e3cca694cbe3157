"""Randomness depends only on names and stays the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmer import seeds

NAMES = ("noise", 0, "iemocap", "Ses01F_impro01_F000", "a", "gaussian", 0)
KEY = 243954666244987094306832619130169404913
SEED = 6612404478269779097
SCRIPTS = Path(seeds.__file__).resolve().parents[1]


def test_a_key_is_half_of_the_sha256_of_the_names_as_json():
    text = '["noise",0,"iemocap","Ses01F_impro01_F000","a","gaussian",0]'
    assert int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little") == KEY
    assert seeds.derive_key(*NAMES) == KEY


def test_a_seed_is_the_upper_63_bits_of_the_key_as_torch_requires():
    assert seeds.derive_seed(*NAMES) == SEED == KEY // 2**65
    assert all(0 <= seeds.derive_seed("weights", number) < 2**63 for number in range(500))
    assert max(seeds.derive_seed("weights", number) for number in range(500)) >= 2**62


def test_the_generator_is_philox_under_the_key():
    assert seeds.generator(*NAMES).bit_generator.random_raw(3).tolist() == [
        4584950609377471887,
        13452601093018569922,
        16658758974807695567,
    ]
    expected = np.random.Generator(np.random.Philox(key=KEY)).standard_normal(5)
    np.testing.assert_array_equal(seeds.generator(*NAMES).standard_normal(5), expected)


@pytest.mark.parametrize(
    "other", [("1", "a"), (1, "b"), ("a", 1), (1,), (1, "a", 0), ("1a",), (-1, "a")], ids=json.dumps
)
def test_different_names_never_share_a_key(other):
    assert seeds.derive_key(*other) != seeds.derive_key(1, "a")


def test_names_in_any_script_are_distinguished():
    assert len({seeds.derive_key(name) for name in ("Müller", "Muller", "мама", "妈妈", "")}) == 5


def test_a_key_does_not_depend_on_the_process():
    command = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from nmer.seeds import derive_key; "
    command += f"print(derive_key(*{NAMES!r}))"
    environment = {"PYTHONHASHSEED": "1"}
    printed = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
    assert printed.stdout.strip() == str(KEY), printed.stderr


NAME = st.integers(-(10**20), 10**20) | st.text('a1,"[]\\ ü漢\u0301😀\n', max_size=6)


@given(st.lists(st.tuples(NAME, NAME) | st.tuples(NAME) | st.tuples(NAME, NAME, NAME), unique_by=repr))
def test_different_names_have_different_keys_and_generators_that_depend_on_nothing_else(several):
    keys = [seeds.derive_key(*names) for names in several]
    assert len(set(keys)) == len(keys)
    first = [seeds.generator(*names).integers(2**60) for names in several]
    assert [seeds.generator(*names).integers(2**60) for names in reversed(several)] == first[::-1]
    expected = [np.random.Generator(np.random.Philox(key=key)).integers(2**60) for key in keys]
    assert first == expected
