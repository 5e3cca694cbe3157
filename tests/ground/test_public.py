"""The public names of ``nmer`` and the imports they cause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nmer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize("name", nmer.__all__)
def test_every_public_name_has_a_docstring(name):
    found = getattr(nmer, name)
    assert found.__doc__ if name != "__version__" else found
    assert name in dir(nmer)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="misspelt"):
        _ = nmer.misspelt


def test_importing_the_package_imports_neither_torch_nor_pandas():
    code = "import sys, nmer; dir(nmer); print({'torch', 'pandas', 'numpy', 'snakemake'} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "set()"


def test_a_system_is_built_with_every_option_at_its_default():
    system = nmer.build_system("nmer_no_vae", {"a": 4, "v": 3, "l": 5}, 4)
    assert isinstance(system, nmer.System)
    assert system.dropout == 0.5
