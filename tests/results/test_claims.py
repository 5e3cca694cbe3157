"""Compare the claims audit with plain pandas on the paper's tables and with known variances."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from published import published
from scipy.stats import norm
from synthetic_contributions import make_contrasts
from synthetic_results import ROOT, run_step

from nmer.errors import ConfigError, DataError
from nmer.report_settings import DatasetSettings
from nmer.results.claims import Bounds, read_claims, read_papers
from nmer.results.claims_audit import audit, judge, judge_most, read_distances
from nmer.results.contrasts import ONE_REPEAT, Contrast
from nmer.results.contributions import COLUMNS, write_contributions
from nmer.results.printed_claims import to_html, to_markdown

CLAIMS = ROOT / "workflow" / "reference" / "claims.toml"
SYSTEM_OF_LABEL = {
    "MEN": "men",
    "MCTN": "mctn",
    "MMIN": "mmin",
    "IF-MMIN": "if_mmin",
    "NMER": "nmer",
    "w/o VAE": "nmer_no_vae",
    "w/o L_inv": "nmer_no_inv",
}
REGIME_OF_TABLE = {2: "incomplete", 3: "incomplete", 4: "all_noisy", 5: "all_noisy"}
NO_DISTANCES = read_distances([])
LEAD = """
[[claim]]
id = "lead"
text = "NMER leads MMIN"
origin = "paper"
table = 2
relation = "gap"
system = "nmer"
others = "mmin"
dataset = "IEMOCAP"
noise = "gaussian"
snr_db = -10
metric = "WA"
more_than = 0
"""
GROWTH = """
[[claim]]
id = "grows"
text = "Distances grow"
origin = "paper"
figure = 3
relation = "growth"
noise = "gaussian"
"""


@pytest.fixture(scope="module")
def papers(reference):
    return read_papers(reference)


@pytest.fixture(scope="module")
def by_the_paper(papers, paper_settings):
    """The audit without any runs, which contains only the verdicts on the paper."""
    return audit(read_claims(CLAIMS, papers), papers, paper_settings, as_ours({}), NO_DISTANCES)


@pytest.fixture
def claims_of(tmp_path, papers):
    """A function from the text of a claims file to its claims."""

    def read(text):
        (tmp_path / "claims.toml").write_text(text, encoding="utf-8")
        return read_claims(tmp_path / "claims.toml", papers)

    return read


def published_table(reference, number):
    """Return a table of the paper, transposed (a column per system), read without the project's code."""
    table = published(reference, number)
    return table.pivot(index=["dataset", "noise", "snr_db", "metric"], columns="system", values="value")


def as_ours(tables, names=None, spread=1e-9):
    """Return tables of the paper (number -> frame) as if they were our results with this standard error."""
    names = names or {"IEMOCAP": "iemocap", "CMU-MOSEI": "mosei"}
    frames = [pd.DataFrame(columns=["dataset", "system", "noise", "snr_db", "condition", "metric", "value", "regime"])]
    for number, table in tables.items():
        if "modality" in table:
            table = table.assign(system="unimodal_" + table["modality"], condition="none").drop(columns="modality")
        frames.append(table.assign(regime=REGIME_OF_TABLE[number]))
    cells = pd.concat(frames[1:] or frames, ignore_index=True)
    cells["system"] = cells["system"].replace(SYSTEM_OF_LABEL)
    cells.loc[cells["system"] == "men", "regime"] = "clean"
    cells["dataset"] = cells["dataset"].map(names)
    cells = cells.drop_duplicates(ignore_index=True).astype({"snr_db": "Int64", "value": float})
    return make_contrasts(cells, spread=spread)


def of_paper(reference, *numbers):
    return {number: published(reference, number) for number in numbers}


def cells_of(values, dataset="iemocap", noise="gaussian", snr_db=-10):
    """Return cells of Table 2 from given WA by system."""
    rows = [(dataset, system, "incomplete", noise, snr_db, "average", "WA", value) for system, value in values.items()]
    columns = ["dataset", "system", "regime", "noise", "snr_db", "condition", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).astype({"snr_db": "Int64"})


def rows_of(audited, claim):
    return audited[audited["claim"] == claim]


# Verdicts on the paper -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "columns", "best"), [(2, 32, 24), (5, 16, 11)])
def test_nmer_is_the_best_in_as_many_columns_as_the_papers_tables_show(reference, by_the_paper, number, columns, best):
    wide = published_table(reference, number)
    lead = (wide["NMER"] - wide.drop(columns="NMER").max(axis=1)).round(4)
    assert ((lead > 0).sum(), len(lead)) == (best, columns), "the counts in the project's notes"
    (row,) = rows_of(by_the_paper, f"nmer_best_table_{number}").itertuples()
    assert row.paper_value.startswith(f"{best} of {columns};")
    assert row.paper_holds == "does not hold"
    parts = rows_of(by_the_paper, f"nmer_best_table_{number}_by_dataset").set_index("dataset")["paper_value"]
    for dataset, each in lead.groupby("dataset"):
        assert parts[dataset].startswith(f"{(each > 0).sum()} of {len(each)};")


def test_the_first_claim_compares_with_the_best_other_system(by_the_paper):
    (row,) = rows_of(by_the_paper, "nmer_best_iemocap_10dB").itertuples()
    assert (row.paper_value, row.paper_holds) == ("0.7598 less 0.7551: 0.47 points", "holds")


@pytest.mark.parametrize("claim", ["degrades_at_every_step", "degrades_from_10_to_40dB"])
def test_degradation_is_counted_over_every_system_metric_and_step(reference, by_the_paper, claim):
    wide = published_table(reference, 2).stack().unstack("snr_db")
    levels = [-10, -20, -30, -40] if claim == "degrades_at_every_step" else [-10, -40]
    lost = -wide[levels].diff(axis=1).iloc[:, 1:].round(4)
    rows = rows_of(by_the_paper, claim).set_index(["dataset", "detail"])
    assert len(rows) == 4
    if claim == "degrades_from_10_to_40dB":
        lost = lost.xs("WA", level="metric", drop_level=False)
    for (dataset, noise), each in lost.groupby(["dataset", "noise"]):
        values = each.to_numpy().ravel()
        row = rows.loc[(dataset, noise.capitalize())]
        assert row["paper_value"].startswith(f"{(values > 0).sum()} of {values.size};")
        assert row["paper_holds"] == ("holds" if (values > 0).all() else "does not hold")


def test_the_lag_of_men_equals_plain_pandas(reference, by_the_paper):
    wide = published_table(reference, 2).xs(-40, level="snr_db").xs("WA", level="metric")
    rows = rows_of(by_the_paper, "men_behind_at_40dB").set_index(["dataset", "detail"])
    for place, each in wide.iterrows():
        behind = 100 * (each[["MCTN", "MMIN", "IF-MMIN"]] - each["MEN"])
        row = rows.loc[(place[0], place[1].capitalize())]
        assert row["paper_value"] == f"3 of 3; from {behind.min():.2f} to {behind.max():.2f} points"
        assert row["paper_holds"] == "holds"
        assert behind.between(5.5, 10.5).all()


def test_nmer_outperforms_each_baseline_in_as_many_columns_as_the_papers_table_shows(reference, by_the_paper):
    wide = published_table(reference, 2)
    rows = rows_of(by_the_paper, "nmer_outperforms_most_baselines").set_index("detail")
    counted = {label: int((wide["NMER"] > wide[label]).sum()) for label in ("MEN", "MCTN", "MMIN", "IF-MMIN")}
    assert counted == {"MEN": 32, "MCTN": 32, "MMIN": 29, "IF-MMIN": 27}, "the counts in the project's notes"
    for label, count in counted.items():
        row = rows.loc[f"against {label}"]
        assert row["paper_value"].startswith(f"{count} of 32;")
        assert row["paper_holds"] == "holds"
        assert row["source"] == "section 3.6.1, Table 2"


def test_most_is_more_than_half(claims_of, papers, paper_settings):
    text = LEAD.replace('metric = "WA"', 'of = "most"').replace("snr_db = -10", "").replace('noise = "gaussian"', "")
    leads = np.array([1] * 9 + [-1] * 7)
    for signs, verdict in ((leads, "holds"), (-leads, "does not hold"), (np.repeat([1, -1], 8), "does not hold")):
        places = [
            (n, level, m) for n in ("gaussian", "impulse") for level in (-10, -20, -30, -40) for m in ("WA", "UA")
        ]
        rows = [
            (
                "iemocap",
                system,
                "incomplete",
                noise,
                level,
                "average",
                metric,
                0.7 + (0.01 * sign if system == "nmer" else 0),
            )
            for (noise, level, metric), sign in zip(places, signs, strict=True)
            for system in ("nmer", "mmin")
        ]
        cells = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"snr_db": "Int64"})
        certain, vague = (make_contrasts(cells, spread=spread) for spread in (1e-5, 0.05))
        (row,) = audit(claims_of(text), papers, paper_settings, certain, NO_DISTANCES).itertuples()
        count = int((signs > 0).sum())
        assert (row.verdict, row.evidence) == (
            verdict,
            f"{count} of 16 significantly within bounds, {16 - count} out of them",
        )
        (row,) = audit(claims_of(text), papers, paper_settings, vague, NO_DISTANCES).itertuples()
        assert row.verdict == "undecided"
    untested = [("one", Contrast(1.0, untested=ONE_REPEAT))]
    assert judge_most(ABOVE_0, untested)[1:] == ("undecided", ONE_REPEAT)


def test_degradation_does_not_accelerate_in_the_papers_table(by_the_paper):
    rows = rows_of(by_the_paper, "all_noisy_accelerates").set_index("dataset")
    # Steps of 4.73, 4.53, 4.41 points, and of 0.81, 2.29, 0.75.
    assert rows["paper_value"].to_dict() == {
        "IEMOCAP": "0 of 2; from −0.20 to −0.12 points",
        "CMU-MOSEI": "1 of 2; from −1.54 to 1.48 points",
    }
    assert set(rows["paper_holds"]) == {"does not hold"}


def test_if_mmin_fades_under_gaussian_noise_and_not_under_impulses_in_the_papers_table(by_the_paper):
    rows = rows_of(by_the_paper, "if_mmin_fades").set_index(["dataset", "detail"])
    points = rows["paper_value"].str.extract(r": (.*) points")[0].str.replace("−", "-").astype(float)
    assert points[("IEMOCAP", "Impulse")] == pytest.approx(-0.335, abs=0.006)
    assert points[("CMU-MOSEI", "Impulse")] == pytest.approx(-0.555, abs=0.006)
    held = rows["paper_holds"].groupby("detail").agg(set).to_dict()
    assert held == {"Gaussian": {"holds"}, "Impulse": {"does not hold"}}


def test_ablations_are_worse_in_wa_and_not_in_every_ua(reference, by_the_paper):
    wide = published_table(reference, 2)
    rows = rows_of(by_the_paper, "ablations_worse").set_index(["dataset", "detail"])
    assert len(rows) == 8
    for label in ("w/o VAE", "w/o L_inv"):
        for (dataset, metric), lead in (wide["NMER"] - wide[label]).groupby(["dataset", "metric"]):
            row = rows.loc[(dataset, f"against {label}, {metric}")]
            assert row["paper_value"].startswith(f"{(lead > 0).sum()} of 8;")
    failed = rows.index[rows["paper_holds"] != "holds"].tolist()
    assert failed == [("CMU-MOSEI", "against w/o L_inv, UA")]


# Calculated manually from the printed tables: case -> (points, whether the paper's claim holds).
CALCULATED = {
    ("one_of_a_v_clean", "condition a"): (72.75 - 63.47, True),
    ("one_of_a_v_clean", "condition v"): (74.40 - 65.29, True),
    ("only_l_clean", "condition l"): (77.50 - 73.48, True),
    ("two_clean", "condition av"): (74.32 - 69.78, True),
    ("two_clean", "condition al"): (78.13 - 76.32, True),
    ("two_clean", "condition vl"): (78.77 - 76.72, True),
    ("lexical_and_another_clean", "condition al"): (78.13 - 76.32, True),
    ("lexical_and_another_clean", "condition vl"): (78.77 - 76.72, True),
    ("mosei_wa_hardly_falls", "MEN"): (75.93 - 68.36, False),
    ("video_alone", "visual only"): (57.23 - 42.52, True),
    ("audio_or_text_alone", "acoustic only"): (66.93 - 56.33, True),
    ("audio_or_text_alone", "lexical only"): (64.84 - 54.21, True),
    ("mmin_all_noisy_to_20dB", ""): (73.40 - 68.93, True),
    ("mmin_all_noisy_to_40dB", ""): (73.40 - 60.24, True),
    ("mosei_wa_hardly_falls", "MCTN"): (73.30 - 71.03, False),
    ("mosei_wa_hardly_falls", "NMER"): (75.96 - 74.82, True),
    ("mosei_ua_falls_more_than_wa", "NMER"): ((67.60 - 65.43) - (75.96 - 74.82), True),
}


@pytest.mark.parametrize("case", CALCULATED)
def test_losses_equal_manual_calculations_from_the_printed_tables(by_the_paper, case):
    points, holds = CALCULATED[case]
    (row,) = by_the_paper[(by_the_paper["claim"] == case[0]) & (by_the_paper["detail"] == case[1])].itertuples()
    assert row.paper_value.endswith(f": {points:.2f} points")
    assert row.paper_holds == ("holds" if holds else "does not hold")


def test_fading_is_the_mean_lead_of_nmer_at_hard_levels_minus_that_at_mild_levels(by_the_paper):
    (row,) = rows_of(by_the_paper, "if_mmin_fades_all_noisy").query("dataset == 'IEMOCAP'").itertuples()
    mild = np.mean([74.36 - 74.50, 69.63 - 69.40])
    hard = np.mean([65.10 - 64.72, 60.69 - 60.53])
    assert row.paper_value.endswith(f": {hard - mild:.2f} points")
    assert row.paper_holds == "holds"


def test_without_runs_every_case_is_not_run(by_the_paper):
    assert set(by_the_paper["verdict"]) == {"not run"}
    assert by_the_paper["p_value"].isna().all()
    assert len(by_the_paper["claim"].unique()) == CLAIMS.read_text(encoding="utf-8").count("\n[[claim]]\n")


# Verdicts on our results ---------------------------------------------------------------------------------------


def test_the_papers_numbers_as_our_results_give_the_papers_values_and_verdicts(reference, papers, paper_settings):
    # With almost no variance no verdict is undecided.
    ours = as_ours(of_paper(reference, 2, 3, 4, 5))
    audited = audit(read_claims(CLAIMS, papers), papers, paper_settings, ours, NO_DISTANCES)
    of_tables = audited[audited["source"] != "Figure 3"]
    assert of_tables["verdict"].tolist() == of_tables["paper_holds"].tolist()
    assert (of_tables["our_value"].str.partition(" (95%")[0] == of_tables["paper_value"]).all()
    refuted = of_tables[of_tables["verdict"] == "does not hold"]
    assert refuted["evidence"].str.contains("corrected p = ").all()
    assert set(of_tables["dataset"]) == {"IEMOCAP", "CMU-MOSEI", "IEMOCAP, CMU-MOSEI"}


ABOVE_0 = Bounds("above 0", low=0, strict=True)


def standard_errors(*distances: float) -> list[tuple[str, Contrast]]:
    """Return differences at these distances above 0, in standard errors, for many units."""
    return [(f"rival {number}", Contrast(each, ((1.0, 10**6),))) for number, each in enumerate(distances, start=1)]


@pytest.mark.parametrize(
    ("bounds", "distances", "p_value", "verdict"),
    [
        (ABOVE_0, [1.97], 1, "holds"),
        (ABOVE_0, [1.95], 1, "undecided"),
        (ABOVE_0, [-1.95], 2 * norm.sf(1.95), "undecided"),
        (ABOVE_0, [-1.97], 2 * norm.sf(1.97), "does not hold"),
        # With two rivals, p-values are doubled to refute and both rivals must be behind to hold.
        (ABOVE_0, [5, -1.97], 4 * norm.sf(1.97), "undecided"),
        (ABOVE_0, [5, -2.25], 4 * norm.sf(2.25), "does not hold"),
        (ABOVE_0, [5, 1.97], 1, "holds"),
        (ABOVE_0, [5, 1.95], 1, "undecided"),
        (Bounds("2 to 10", low=2, high=10), [6], 1, "holds"),
        (Bounds("2 to 10", low=2, high=10), [3], 1, "undecided"),
        (Bounds("2 to 10", low=2, high=10), [12], 2 * norm.sf(2), "does not hold"),
        (Bounds("2 to 10", low=2, high=10), [0.5], 2 * norm.sf(1.5), "undecided"),
    ],
)
def test_verdicts_at_their_boundaries(bounds, distances, p_value, verdict):
    found = judge(bounds, standard_errors(*distances))
    assert (found.p_value, found.verdict) == (pytest.approx(p_value, rel=1e-3), verdict)
    if verdict == "does not hold":
        assert found.evidence.startswith(f"rival {len(distances)}: ")


def test_sixteen_close_calls_refute_nothing():
    assert judge(ABOVE_0, standard_errors(*[-1.5] * 16)).verdict == "undecided"


def test_an_untested_difference_is_undecided_with_a_reason_unless_another_rival_refutes_it():
    untested = ("rival", Contrast(-1.0, untested=ONE_REPEAT))
    found = judge(ABOVE_0, [untested])
    assert (found.verdict, found.evidence) == ("undecided", ONE_REPEAT)
    assert np.isnan(found.p_value)
    assert judge(ABOVE_0, [untested, *standard_errors(5)]).verdict == "undecided"
    assert judge(ABOVE_0, [untested, *standard_errors(-5)]).verdict == "does not hold"


def test_a_claim_is_judged_on_the_variance_of_our_results(claims_of, papers, paper_settings):
    for values, spread, verdict in (((0.76, 0.75), 0.002, "holds"), ((0.76, 0.75), 0.01, "undecided")):
        ours = make_contrasts(cells_of(dict(zip(("nmer", "mmin"), values, strict=True))), spread=spread)
        (row,) = audit(claims_of(LEAD), papers, paper_settings, ours, NO_DISTANCES).itertuples()
        assert (row.p_value, row.verdict, row.evidence) == (1, verdict, "")
        assert row.our_value.startswith("0.7600 less 0.7500: 1.00 points (95% interval ")
        assert (row.paper_value, row.paper_holds) == ("0.7598 less 0.7551: 0.47 points", "holds")


def test_a_best_claim_names_the_rival_that_refutes_it(claims_of, papers, paper_settings):
    text = LEAD.replace('"gap"', '"best"').replace('others = "mmin"', 'others = ["men", "mmin"]')
    ours = make_contrasts(cells_of({"nmer": 0.74, "mmin": 0.76, "men": 0.6}), spread=0.002)
    (row,) = audit(claims_of(text), papers, paper_settings, ours, NO_DISTANCES).itertuples()
    assert row.verdict == "does not hold"
    assert row.evidence.startswith(
        "NMER less MMIN, iemocap, Gaussian, −10 dB, average, WA: −2.00 points, corrected p = "
    )


def test_systems_are_compared_on_the_same_units(claims_of, papers, paper_settings):
    # Both scores vary jointly, by far more than they differ: in a paired comparison the lead is certain.
    common = np.random.default_rng(1).normal(0, 0.05 / 14, 200)
    common -= common.mean()
    difference = np.tile([1e-6, -1e-6], 100)
    cells = cells_of({"nmer": 0.76, "mmin": 0.75})
    ours = make_contrasts(cells, np.stack([common + difference, common]))
    (row,) = audit(claims_of(LEAD), papers, paper_settings, ours, NO_DISTANCES).itertuples()
    assert row.verdict == "holds"
    assert row.our_value.endswith("(95% interval 1.00 to 1.00)")
    unpaired = make_contrasts(cells, np.stack([common, common[::-1]]))
    (row,) = audit(claims_of(LEAD), papers, paper_settings, unpaired, NO_DISTANCES).itertuples()
    assert row.verdict == "undecided"


def test_scores_that_differ_only_by_rounding_are_no_lead(claims_of, papers, paper_settings):
    cells = cells_of({"nmer": np.nextafter(0.75, 1), "mmin": 0.75})
    (row,) = audit(claims_of(LEAD), papers, paper_settings, make_contrasts(cells), NO_DISTANCES).itertuples()
    assert row.verdict != "holds"


def test_a_missing_score_is_named_and_its_claim_not_run(claims_of, papers, paper_settings):
    ours = make_contrasts(cells_of({"nmer": 0.76}))
    (row,) = audit(claims_of(LEAD), papers, paper_settings, ours, NO_DISTANCES).itertuples()
    assert row.verdict == "not run"
    assert row.our_value == "1 of 2 scores missing, e.g. iemocap, MMIN, Gaussian, −10 dB, average, WA"
    assert row.paper_holds == "holds"


def test_a_dataset_that_the_experiment_does_not_have_is_not_run(claims_of, papers, paper_settings):
    settings = replace(paper_settings, datasets={"mosi": DatasetSettings()})
    cells = cells_of({"nmer": 0.76, "mmin": 0.75}, dataset="mosi")
    (row,) = audit(claims_of(LEAD), papers, settings, make_contrasts(cells), NO_DISTANCES).itertuples()
    assert (row.dataset, row.verdict) == ("IEMOCAP", "not run")


def test_synthetic_data_instead_of_the_papers_are_computed_and_marked(claims_of, papers, small_settings):
    values = {"iemocap": {"nmer": 0.75, "mmin": 0.76}, "demo_iemocap": {"nmer": 0.76, "mmin": 0.75}}
    cells = pd.concat([cells_of(each, dataset=name) for name, each in values.items()], ignore_index=True)
    ours = make_contrasts(cells)
    audited = audit(claims_of(LEAD), papers, small_settings, ours, NO_DISTANCES).set_index("dataset")
    assert audited["verdict"].to_dict() == {"IEMOCAP": "does not hold", "demo_iemocap (synthetic)": "holds"}
    assert audited["synthetic"].to_dict() == {"IEMOCAP": False, "demo_iemocap (synthetic)": True}
    assert to_html(audited.reset_index()).count("holds (synthetic data: meaningless)") == 1


@pytest.mark.parametrize(("table", "regime"), [(2, "incomplete"), (5, "all_noisy")])
def test_a_table_reads_the_trainings_it_shows_and_men_trained_clean(claims_of, papers, paper_settings, table, regime):
    condition = {2: "average", 5: "none"}[table]
    text = LEAD.replace("table = 2", f"table = {table}").replace('"mmin"', '"men"')
    values = {
        ("nmer", regime): 0.8,
        ("nmer", {"incomplete": "all_noisy", "all_noisy": "incomplete"}[regime]): 0.1,
        ("men", "clean"): 0.7,
    }
    rows = [("iemocap", *run, "gaussian", -10, condition, "WA", value) for run, value in values.items()]
    columns = ["dataset", "system", "regime", "noise", "snr_db", "condition", "metric", "value"]
    cells = pd.DataFrame(rows, columns=columns).astype({"snr_db": "Int64"})
    (row,) = audit(claims_of(text), papers, paper_settings, make_contrasts(cells), NO_DISTANCES).itertuples()
    assert row.our_value.startswith("0.8000 less 0.7000: 10.00 points")
    assert row.verdict == "holds"


# Figure 3 ------------------------------------------------------------------------------------------------------


def write_distances(path, tsne, raw, dataset="iemocap", levels=(-40, -10, -20)):
    """Write distances of one modality, in the order of ``levels``, and constant ones of the impulse kind."""
    rows = [(dataset, "gaussian", *values) for values in zip(levels, tsne, raw, strict=True)]
    rows += [(dataset, "impulse", level, 1.0, 1.0) for level in levels]
    table = pd.DataFrame(rows, columns=["dataset", "noise", "snr_db", "tsne_distance", "raw_distance"])
    table.assign(modality="v", samples=8).to_csv(path, index=False)
    return path


def distances_audit(text, claims_of, papers, settings, *paths):
    return audit(claims_of(text), papers, settings, as_ours({}), read_distances(paths))


def test_growing_distances_are_judged_per_modality_and_kind(tmp_path, claims_of, papers, paper_settings):
    path = write_distances(tmp_path / "figure3.csv", tsne=(3.0, 1.0, 2.0), raw=(0.3, 0.1, 0.3))
    audited = distances_audit(GROWTH, claims_of, papers, paper_settings, path)
    assert len(audited) == 2 * 4, "two kinds of distance; three modalities and their mean"
    rows = audited.set_index("detail")
    assert rows.loc["Gaussian, t-SNE distance, visual", "verdict"] == "holds"
    assert rows.loc["Gaussian, t-SNE distance, visual", "our_value"] == (
        "1.000 → 2.000 → 3.000 at −10 dB, −20 dB, −40 dB"
    )
    assert rows.loc["Gaussian, raw distance, visual", "verdict"] == "does not hold", "it must grow at every step"
    assert rows.loc["Gaussian, raw distance, lexical", "verdict"] == "not run"
    assert set(rows["paper_holds"]) == {"claimed without numbers"}


def test_every_dataset_with_distances_is_judged_and_one_level_is_not_enough(
    tmp_path, claims_of, papers, small_settings
):
    paths = [
        write_distances(tmp_path / "one.csv", tsne=(2.0, 1.0), raw=(2.0, 1.0), dataset="mosi", levels=(-40, -10)),
        write_distances(tmp_path / "two.csv", tsne=(2.0,), raw=(2.0,), dataset="demo_iemocap", levels=(-10,)),
    ]
    text = GROWTH + 'modality = "v"\ndistance = "raw"\n'
    rows = distances_audit(text, claims_of, papers, small_settings, *paths).set_index("dataset")
    assert rows["verdict"].to_dict() == {"mosi": "holds", "demo_iemocap (synthetic)": "not run"}
    assert rows["synthetic"].to_dict() == {"mosi": False, "demo_iemocap (synthetic)": True}


@pytest.mark.parametrize("content", ["", "dataset,noise\na,b\n", "not a number"])
def test_damaged_distances_are_named(tmp_path, content):
    path = tmp_path / "figure3_x.csv"
    if content == "not a number":
        write_distances(path, tsne=("", 1.0, 2.0), raw=(1.0, 2.0, 3.0))
    else:
        path.write_text(content)
    with pytest.raises(DataError, match=r"figure3_x\.csv: .* Draw the figure again\.$"):
        read_distances([path])


# The claims file -----------------------------------------------------------------------------------------------


def test_a_few_lines_add_a_claim(tmp_path, reference, papers, paper_settings):
    path = tmp_path / "claims.toml"
    path.write_text(CLAIMS.read_text(encoding="utf-8") + LEAD, encoding="utf-8")
    ours = as_ours(of_paper(reference, 2), spread=0.0005)
    audited = audit(read_claims(path, papers), papers, paper_settings, ours, NO_DISTANCES)
    (row,) = rows_of(audited, "lead").itertuples()
    assert (row.text, row.source, row.dataset, row.verdict) == ("NMER leads MMIN", "Table 2", "IEMOCAP", "holds")


FAULTS = {
    "not toml": ("[[claim]\n", "cannot be read as claims"),
    "no claims": ("claims = 3\n", r"may contain only \[\[claim\]\] entries"),
    "unknown key": (LEAD.replace("metric", "metrik"), "'lead': unknown key 'metrik'. Did you mean 'metric'"),
    "no id": (LEAD.replace('id = "lead"', ""), "'number 1': lacks the key 'id'"),
    "same id": (LEAD + LEAD, "'lead': another claim has this id"),
    "relation": (LEAD.replace('"gap"', '"gaps"'), "'lead': unknown relation 'gaps'. Did you mean 'gap'"),
    "growth of a table": (LEAD.replace('"gap"', '"growth"'), "'lead': unknown relation 'growth'"),
    "table": (LEAD.replace("table = 2", "table = 1"), "'lead': table 1 is not possible"),
    "figure": (GROWTH.replace("= 3", "= 2"), "'grows': figure 2 is not possible"),
    "system": (LEAD.replace('"nmer"', '"nmr"'), "'lead': unknown system 'nmr'. Did you mean 'nmer'"),
    "level": (LEAD.replace("-10", "[-10, -15]"), "'lead': unknown snr_db '-15'"),
    "empty": (LEAD.replace("-10", "[]"), "'lead': snr_db is an empty list"),
    "itself": (LEAD.replace('"mmin"', '"nmer"'), "'lead': 'nmer' is in both"),
    "gap without others": (LEAD.replace('others = "mmin"', ""), "'lead': names no systems to compare"),
    "origin": (LEAD.replace('"paper"', '"us"'), "'lead': origin must be 'paper'"),
    "section": (LEAD + "section = 3\n", "'lead': id, text and section must be text"),
    "of": (LEAD + 'of = "some"\n', "'lead': of must be 'all' or 'most'"),
    "most with between": (
        LEAD.replace("more_than = 0", 'between = [1, 2]\nof = "most"'),
        "'lead': of must be 'all' or 'most', and 'most' needs",
    ),
    "others with drop": (LEAD.replace('"gap"', '"drop"'), "'lead': the relation 'drop' compares levels"),
    "one level for drop": (
        LEAD.replace('"gap"', '"drop"').replace('others = "mmin"', ""),
        "'lead': the relation 'drop' needs at least 2 levels",
    ),
    "two levels for acceleration": (
        LEAD.replace('"gap"', '"acceleration"').replace('others = "mmin"', "").replace("-10", "[-10, -20]"),
        "'lead': the relation 'acceleration' needs at least 3 levels",
    ),
    "no bounds": (LEAD.replace("more_than = 0", ""), "'lead': must have exactly one of"),
    "two bounds": (LEAD + "at_most = 1\n", "'lead': must have exactly one of"),
    "no number": (LEAD.replace("= 0", '= "0"'), "'lead': more_than must be a number"),
    "about": (LEAD.replace("more_than = 0", "about = 9"), "'lead': about needs a tolerance"),
    "tolerance without about or between": (
        LEAD + "tolerance = 1\n",
        "'lead': about needs a tolerance in points; more_than",
    ),
    "between": (LEAD.replace("more_than = 0", "between = [5, 2]"), "'lead': between needs the smaller number first"),
    "each": (LEAD + 'each = ["snr"]\n', "'lead': each must be a list of some of dataset, system"),
    "best with at_most": (
        LEAD.replace('"gap"', '"best"').replace("more_than", "at_most"),
        "'lead': the relation 'best' needs more_than",
    ),
    "compared": (LEAD + 'compared_with = {dataset = "IEMOCAP"}\n', "'lead': compared_with must be a table"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_claim_is_refused_in_one_line_with_file_and_claim(claims_of, fault):
    text, message = FAULTS[fault]
    with pytest.raises(ConfigError, match=message) as caught:
        claims_of(text)
    assert "claims.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


# The step ------------------------------------------------------------------------------------------------------


def test_the_step_writes_one_machine_readable_and_two_printed_tables(tmp_path, reference, paper_settings):
    contributions = tmp_path / "contributions.h5"
    write_contributions(contributions, as_ours(of_paper(reference, 2, 5), spread=0.002).measured)
    figure = write_distances(tmp_path / "figure3_iemocap.csv", tsne=(3.0, 1.0, 2.0), raw=(0.3, 0.1, 0.2))
    stem = tmp_path / "tables" / "claims"
    settings = paper_settings.to_json()
    arguments = ["--settings", settings, "--contributions", contributions, "--distances", figure]
    run_step("audit_claims.py", *arguments, "--claims", CLAIMS, "--reference", reference, "--output-stem", stem)

    audited = pd.read_csv(f"{stem}.csv", keep_default_na=False)
    assert {"holds", "undecided", "not run"} <= set(audited["verdict"])
    assert audited.columns.tolist()[:5] == ["claim", "text", "origin", "source", "dataset"]

    page = ET.fromstring(f"<main>{stem.with_suffix('.html').read_text(encoding='utf-8')}</main>")
    assert page.find(".//caption/span").text.startswith("The paper's claims")
    assert {head.get("scope") for head in page.iter("th")} == {"col", "row", "rowgroup"}
    origins = [row.find("th").text for row in page.iter("tr") if row.get("class") == "origin"]
    assert origins == ["The paper says", "Follows from the paper's tables, but is not stated"]
    body = [row for row in page.iter("tr") if row.find("td") is not None]
    assert len(body) == len(audited)
    words = [row.findall("td")[-1].text for row in body]
    # First the claims of the paper, then those derived from its tables, each in the order of the file.
    ordered = audited.iloc[np.argsort(audited["origin"] == "tables", kind="stable")]
    for printed, verdict, evidence in zip(words, ordered["verdict"], ordered["evidence"], strict=True):
        word = verdict.replace("undecided", "undecided at this sample size")
        assert printed == (f"{word} ({evidence})" if evidence else word)

    lines = stem.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == len(audited) + 2 * audited["claim"].nunique(), "each claim has a two-line heading"
    assert all(line.count(" | ") == 6 for line in rows)


def test_the_step_refuses_a_faulty_claim_in_one_line(tmp_path, reference, paper_settings, capsys):
    (tmp_path / "mine.toml").write_text(LEAD.replace('"nmer"', '"nmr"'))
    settings = paper_settings.to_json()
    arguments = ["--settings", settings, "--contributions", tmp_path / "absent.h5", "--claims", tmp_path / "mine.toml"]
    with pytest.raises(SystemExit):
        run_step("audit_claims.py", *arguments, "--reference", reference, "--output-stem", tmp_path / "claims")
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "mine.toml: claim 'lead': unknown system 'nmr'" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("claims*"))


def test_the_summary_separates_synthetic_data(claims_of, papers, small_settings):
    cells = cells_of({"nmer": 0.76, "mmin": 0.75}, dataset="demo_iemocap")
    audited = audit(claims_of(LEAD), papers, small_settings, make_contrasts(cells), NO_DISTANCES)
    assert "0 holds, 0 does not hold, 0 undecided at this sample size, 1 not run. Another 1 " in to_markdown(audited)
