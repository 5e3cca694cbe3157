"""Printed names of systems and noises."""

from __future__ import annotations

from nmer.names import PAPER_SYSTEMS, UNIMODAL_SYSTEMS
from nmer.references.registry import REFERENCES
from nmer.results import labels, tables
from nmer.systems.registry import regimes, systems


def test_systems_and_noise_print_under_the_papers_names_and_custom_ones_unchanged():
    assert labels.system_label("nmer_no_inv") == "w/o L_inv"
    assert labels.system_label("if_mmin") == "IF-MMIN"
    assert labels.system_label("mine") == "mine"
    assert labels.noise_label("impulse") == "Impulse"
    assert labels.noise_label("pink") == "pink"


def test_every_system_of_the_paper_has_a_printed_name_and_one_in_the_papers_tables():
    assert set(PAPER_SYSTEMS) == set(tables.PAPER_NAMES)
    reported = {name for name in systems.shipped() if regimes(systems.declaration(name))}
    assert set(labels.SYSTEM_LABELS) == reported - set(UNIMODAL_SYSTEMS)
    assert set(labels.REFERENCE_LABELS) == set(REFERENCES)
    assert all(labels.system_label(name).endswith("(reference)") for name in REFERENCES)
