"""The plan of any experiment has each job once, with distinct files and settings."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nmer.plan.jobs import jobs
from nmer.plan.plan import Plan

CONFIG = yaml.safe_load((Path(__file__).resolve().parents[2] / "config.yaml").read_text(encoding="utf-8"))
FOLDS = {"demo_iemocap": 10, "demo_mosei": 1, "tiny_iemocap": 10, "tiny_mosei": 1}
BOTH, SIX = ("incomplete", "all_noisy"), ("incomplete",)
SYSTEMS = {
    "men": (("clean",), None),
    "mctn": (BOTH, None),
    "mmin": (BOTH, "men"),
    "if_mmin": (BOTH, "shared"),
    "nmer": (BOTH, "two_tower"),
    "nmer_no_vae": (SIX, "two_tower"),
    "nmer_no_inv": (SIX, "two_tower"),
}
"""Regimes and pretraining of every system (SPEC 4 and 6.4)."""

UNIMODAL = ("unimodal_a", "unimodal_v", "unimodal_l")
WITH_SNR, WITHOUT_SNR = ("gaussian", "impulse", "hiss"), ("zero", "lose_some")
KINDS = {"hiss": {"kind": "uniform"}, "lose_some": {"kind": "drop_frames", "share": 0.2}}
DEFAULTS = {
    "training": {"learning_rate": 0.0002, "weight_decay": 0.00001, "batch_size": 128, "dropout": 0.5},
    "noise": {"seed": 0, "schedule": "linear", "beta_start": 0.001, "beta_end": 0.1, "train_draws": 1},
    "calibration": {"mode": "integer_T", "match": "nominal", "scope": "stored"},
    "nmer": {"invariance": "two_tower", "layers": 5, "invariance_weight": 10.0},
    "mmin": {"cycle_weight": 2.0},
}
OTHERS = {
    "training": {"learning_rate": 0.01, "weight_decay": 0.0, "batch_size": 7, "dropout": 0},
    "noise": {"seed": 4, "schedule": "sigmoid", "beta_start": 0.01, "beta_end": 0.5, "train_draws": 3},
    "calibration": {"mode": "exact_abar", "match": "effective", "scope": "valid_frames"},
    "nmer": {"invariance": "stacked", "layers": 1, "invariance_weight": 0.0},
    "mmin": {"cycle_weight": 0.0},
}
"""Sections by key with their documented defaults, and other values of the same keys."""


SCHEDULE = {"constant_epochs": (30, 20), "decay_epochs": (30, 20), "clip_norm": (1.0, 0.5)}
"""Keys of a training whose default differs for pretraining."""


def some(choices: tuple | list, least: int = 1, most: int | None = None) -> st.SearchStrategy[list]:
    return st.lists(st.sampled_from(choices), min_size=least, max_size=most, unique=True)


def section(name: str) -> st.SearchStrategy[dict]:
    """Draw keys of a section, each with its default or another value."""
    keys = {key: st.sampled_from([DEFAULTS[name][key], OTHERS[name][key]]) for key in DEFAULTS[name]}
    return st.fixed_dictionaries({}, optional=keys)


LEVELS = some([5, 0, -10, -20, -40], most=3)


@st.composite
def configurations(draw: st.DrawFn) -> dict:
    """Draw an experiment on the generated datasets with any of the options above."""
    noise = draw(some([*WITH_SNR, *WITHOUT_SNR], most=3))
    audible = [name for name in noise if name in WITH_SNR]
    datasets = draw(some(list(FOLDS), most=2))
    tables = draw(some([1, 2, 3, 4, 5], least=0))
    systems = draw(some([*SYSTEMS, *UNIMODAL] if 4 in tables else list(SYSTEMS), most=5))
    benchmark = {"datasets": some(datasets), "train_clean": st.booleans(), "clean_reference": st.booleans()}
    benchmark |= {"snr_db": LEVELS} if audible else {}
    optional = {
        "tables": st.just(tables),
        "folds": st.sampled_from(["all", 1, 2, 3]),
        "repeats": st.integers(1, 4),
        "unimodal": st.fixed_dictionaries({}, optional=benchmark),
        "embedding": st.fixed_dictionaries({"noise": some(noise)}),
        "figures": some(["robustness", "figure3", "calibration", "training", "recall"], least=0),
        "training": section("training"),
        "system_options": st.fixed_dictionaries({}, optional={"nmer": section("nmer")}),
    }
    experiment = draw(st.fixed_dictionaries({}, optional=optional))
    if 4 not in tables:
        experiment["tables"] = tables
    levels = LEVELS | st.fixed_dictionaries(dict.fromkeys(audible, LEVELS)) if audible else st.just({})
    experiment |= {"datasets": datasets, "systems": systems, "noise": noise, "snr_db": draw(levels)}
    return copy.deepcopy(CONFIG) | {
        "experiment": "drawn",
        "experiments": CONFIG["experiments"] | {"drawn": experiment},
        "noise": draw(section("noise")) | {"calibration": draw(section("calibration")), "kinds": KINDS},
        "systems": {"nmer": draw(section("nmer")), "mmin": draw(section("mmin"))},
        "training": draw(section("training")),
    }


class Expected:
    """Expected jobs of an experiment, counted from its keys as documented in docs/configuration.md."""

    def __init__(self, config: dict) -> None:
        self.experiment = config["experiments"]["drawn"]
        self.tables = self.experiment.get("tables", [1, 2, 3, 4, 5])
        levels = self.experiment["snr_db"]
        self.levels = {
            name: (levels[name] if isinstance(levels, dict) else levels) if name in WITH_SNR else [None]
            for name in self.experiment["noise"]
        }
        audible = [name for name in self.levels if name in WITH_SNR]
        self.reference = "gaussian" if "gaussian" in audible else (audible or list(self.levels))[0]
        self.invariance = {
            **config["systems"]["nmer"],
            **self.experiment.get("system_options", {}).get("nmer", {}),
        }.get("invariance", "two_tower")

    def folds(self, dataset: str) -> int:
        wanted = self.experiment.get("folds", "all")
        return FOLDS[dataset] if wanted == "all" else min(wanted, FOLDS[dataset])

    def all_levels(self, kinds: list[str]) -> list[tuple]:
        return [(kind, level) for kind in kinds for level in self.levels[kind]]

    def unimodal_levels(self) -> list[tuple]:
        run = [level for level in self.levels[self.reference] if level is not None]
        levels = self.experiment.get("unimodal", {}).get("snr_db", {0, *run} if run else [None])
        return [(self.reference, level) for level in levels]

    def runs(self, dataset: str) -> Iterator[tuple[str, str, list, list]]:
        """Yield system, regime, and the corruptions of its trainings and of its tests (None: clean data)."""
        for system in self.experiment["systems"]:
            if system in UNIMODAL:
                benchmark = self.experiment.get("unimodal", {})
                if dataset in benchmark.get("datasets", self.experiment["datasets"]):
                    once, reference = benchmark.get("train_clean", False), benchmark.get("clean_reference", False)
                    if once or reference:
                        yield system, "clean", [None], [None] * reference + self.unimodal_levels() * once
                    if not once:
                        yield system, "all_noisy", self.unimodal_levels(), self.unimodal_levels()
                continue
            for regime in SYSTEMS[system][0]:
                if regime == "all_noisy" and 5 not in self.tables:
                    continue
                levels = self.all_levels([self.reference] if regime == "all_noisy" else list(self.levels))
                yield system, regime, [None] if regime == "clean" else levels, levels

    def trainings(self, dataset: str) -> set[tuple]:
        """Return (system, regime, corruption) of every training of a fold."""
        found = set()
        for system, regime, trained, _tested in self.runs(dataset):
            found |= {(system, regime, corruption) for corruption in trained}
            teacher = SYSTEMS.get(system, (None, None))[1]
            if teacher == "two_tower" and self.invariance == "stacked":
                teacher = "shared"
            if teacher:
                found.add((teacher, "clean", None))
        return found

    def tested(self, dataset: str) -> set[tuple]:
        return {
            (system, regime, corruption)
            for system, regime, _trained, tested in self.runs(dataset)
            for corruption in tested
        }

    def corruptions(self, dataset: str) -> set[tuple]:
        return {corruption for _system, _regime, corruption in self.tested(dataset) if corruption}

    def panels(self) -> list[tuple]:
        return self.all_levels(self.experiment.get("embedding", {}).get("noise", [self.reference]))

    def jobs(self) -> int:
        """Return the number of jobs of all rules."""
        figures = self.experiment.get("figures")
        figures = ["robustness", "ranks", *["per dataset"] * 5, "figure3"] if figures is None else figures
        alone = sum(name in ("robustness", "ranks") for name in figures)
        # find_chance, compare_systems, audit_claims, collect_scores, report; each table.
        count = 5 + len(self.tables) + alone
        for dataset in self.experiment["datasets"]:
            drawn = self.panels() if "figure3" in figures else []
            # generate_corpus, build_features, collect_calibration; calibrate and corrupt for each corruption.
            count += 3 + 2 * len(self.corruptions(dataset) | set(drawn))
            count += self.folds(dataset) * len(self.trainings(dataset)) + len(self.tested(dataset))
            count += len(drawn) + len(figures) - alone
        return count


def as_pair(corruption) -> tuple | None:
    return corruption and (corruption.noise, corruption.snr_db)


def wildcards(dataset: str, system: str, regime: str, corruption, **others: object) -> SimpleNamespace:
    """Return wildcards like those that Snakemake passes to the plan."""
    named = {"stage": system} if system in ("shared", "two_tower") else {"system": system, "regime": regime}
    level = {"corruption": corruption.name} if corruption else {}
    return SimpleNamespace(dataset=dataset, **named, **level, **others)


def training_settings(plan: Plan) -> dict[Path, str]:
    """Return model file -> settings of every training."""
    return {
        plan.model(job.dataset, job.system, job.regime, job.fold, job.corruption and job.corruption.name): (
            plan.training_settings(wildcards(job.dataset, job.system, job.regime, job.corruption, fold=str(job.fold)))
        )
        for job in plan.trainings()
    }


def evaluation_settings(plan: Plan) -> dict[Path, str]:
    """Return file of scores -> settings of every evaluation."""
    found = [plan.evaluation_settings(wildcards(*evaluation)) for evaluation in plan.evaluations()]
    return dict(zip(plan.scores(), found, strict=True))


def noise_settings(plan: Plan) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (dataset, corruption) -> settings of calibration and of noise."""
    places = [
        SimpleNamespace(dataset=dataset, corruption=name)
        for dataset in plan.datasets
        for name in plan.corruptions_of(dataset)
    ]
    return {(w.dataset, w.corruption): (plan.calibration_settings(w), plan.corruption_settings(w)) for w in places}


@given(configurations())
def test_trainings_tests_and_jobs_equal_an_independent_count(config):
    plan, expected = Plan(config), Expected(config)
    trainings, evaluations = plan.trainings(), plan.evaluations()
    assert len(set(trainings)) == len(trainings)
    assert len(set(evaluations)) == len(evaluations)
    for dataset in plan.datasets:
        of_folds = {fold: set() for fold in range(1, expected.folds(dataset) + 1)}
        for job in trainings:
            if job.dataset == dataset:
                of_folds[job.fold].add((job.system, job.regime, as_pair(job.corruption)))
        assert all(found == expected.trainings(dataset) for found in of_folds.values())
        tested = {(system, regime, as_pair(c)) for name, system, regime, c in evaluations if name == dataset}
        assert tested == expected.tested(dataset)
        assert {as_pair(plan.corruptions[name]) for name in plan.corruptions_of(dataset)} == (
            expected.corruptions(dataset)
        )
    found = jobs(plan)
    assert len(found) == expected.jobs()
    assert len({job.output for job in found}) == len({job.benchmark for job in found}) == len(found)
    assert json.loads(plan.report_settings())["jobs"] == len(trainings)


@given(configurations())
def test_settings_of_jobs_are_distinct_and_every_model_is_tested_or_a_teacher(config):
    plan = Plan(config)
    trained, tested, noise = training_settings(plan), evaluation_settings(plan), noise_settings(plan)
    for found, count in (
        (trained.values(), len(plan.trainings())),
        (tested.values(), len(plan.evaluations())),
        ([calibration for calibration, _noise in noise.values()], len(noise)),
    ):
        assert len(found) == len(set(found)) == count
    needed = set()
    for evaluation in plan.evaluations():
        w = wildcards(*evaluation)
        needed |= set(plan.models(w))
        for fold in plan.folds(w.dataset):
            needed |= set(plan.teacher(SimpleNamespace(**vars(w), fold=str(fold))))
    assert needed == set(trained)
    for corruption in plan.corruptions.values():
        assert (corruption.snr_db is None) == (corruption.noise in WITHOUT_SNR)


def reordered(value: object, chance: random.Random) -> object:
    """Return a mapping with its keys shuffled at every level and lists unchanged."""
    if not isinstance(value, dict):
        return value
    return {key: reordered(value[key], chance) for key in chance.sample(list(value), len(value))}


def everything(plan: Plan) -> list:
    """Return everything that the rules read from the plan."""
    of_datasets = [SimpleNamespace(dataset=dataset) for dataset in plan.datasets]
    texts = [
        *((plan.features_settings(w), plan.corpus_settings(w), plan.panels(w.dataset)) for w in of_datasets),
        *(plan.tables_settings(table) for table in (None, 2, 4)),
        plan.report_settings(),
        *(plan.figure_settings(SimpleNamespace(figure=name)) for name in plan.drawings),
    ]
    return [jobs(plan), training_settings(plan), evaluation_settings(plan), noise_settings(plan), texts]


@settings(max_examples=10)
@given(configurations(), st.integers(0, 2**32))
def test_the_order_of_configuration_keys_does_not_matter(config, seed):
    assert everything(Plan(reordered(config, random.Random(seed)))) == everything(Plan(config))


def without_defaults(config: dict) -> dict:
    """Return a configuration without the keys that have their default value."""

    def kept(name: str, keys: dict) -> dict:
        return {key: value for key, value in keys.items() if key not in DEFAULTS[name] or value != DEFAULTS[name][key]}

    config = copy.deepcopy(config)
    config["training"] = kept("training", config["training"])
    config["noise"] = kept("noise", config["noise"])
    config["noise"]["calibration"] = kept("calibration", config["noise"]["calibration"])
    config["systems"] = {name: kept(name, keys) for name, keys in config["systems"].items()}
    return config


@st.composite
def trainings(draw: st.DrawFn) -> dict:
    """Draw keys of the section ``training``, including pretraining."""
    values = {key: st.sampled_from([*SCHEDULE[key], 3]) for key in SCHEDULE} | {"batch_size": st.sampled_from([7, 128])}
    stage = draw(st.fixed_dictionaries({}, optional=values))
    return draw(st.fixed_dictionaries({}, optional=values)) | ({"pretraining": stage} if stage else {})


@given(trainings(), trainings())
def test_pretraining_inherits_training_keys_that_it_does_not_override(general, own):
    config = copy.deepcopy(CONFIG) | {"experiment": "tiny", "training": general}
    config["experiments"]["tiny"]["training"] = own
    plan = Plan(config)
    run = SimpleNamespace(
        dataset="tiny_mosei", system="nmer", regime="incomplete", corruption="gaussian_-10dB", fold="1"
    )
    stage = SimpleNamespace(dataset="tiny_mosei", stage="two_tower", fold="1")
    found = [json.loads(plan.training_settings(w)).get("training", {}) for w in (run, stage)]
    for key, defaults in (SCHEDULE | {"batch_size": (128, 128)}).items():
        here = own.get(key, general.get(key))
        later = own.get("pretraining", {}).get(key, general.get("pretraining", {}).get(key, here))
        for number, wanted in enumerate((here, later)):
            # A step uses the default of each key that its settings omit.
            assert found[number].get(key, defaults[0]) == (defaults[number] if wanted is None else wanted)


@settings(max_examples=10)
@given(configurations())
def test_writing_a_default_changes_no_job(config):
    # A key of an experiment overrides the general sections even with its default value, so it is kept.
    ours, bare = everything(Plan(config)), everything(Plan(without_defaults(config)))
    assert ours[:4] == bare[:4]
    for text in (*ours[1].values(), *ours[2].values(), *(each for pair in ours[3].values() for each in pair)):
        assert None not in json.loads(text).values()
        assert text == json.dumps(json.loads(text), sort_keys=True)
