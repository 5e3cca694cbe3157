"""The plan: the jobs of an experiment, their files and their settings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped import shipped_config, write_empty_corpora

from nmer.errors import ConfigError
from nmer.plan.plan import Plan
from nmer.plan.settings import EvaluationSettings, RunSettings, TrainingSettings
from nmer.report_settings import ReportSettings

MEN = ("iemocap", "men")
FOUR_LEVELS = (-10, -20, -30, -40)


@pytest.fixture
def make_plan():
    """Return a function that plans an experiment of the default configuration after ``change(config)``."""

    def make(experiment: str = "tiny", change=lambda _: None, **top) -> Plan:
        config = shipped_config() | {"experiment": experiment, **top}
        change(config)
        return Plan(config)

    return make


@pytest.fixture
def paper_data(tmp_path) -> Path:
    """The folder of corpora whose content the plan does not read."""
    write_empty_corpora(tmp_path)
    return tmp_path


def wildcards(**values) -> SimpleNamespace:
    return SimpleNamespace(**values)


def test_the_papers_grid_is_2661_trainings_in_887_jobs(make_plan, paper_data):
    plan = make_plan("paper", data=str(paper_data))
    jobs = plan.trainings()
    # SPEC 6.4.
    assert plan.repeats == 3
    assert Counter(job.dataset for job in jobs) == {"iemocap": 820, "mosei": 67}
    trainings = Counter(job.dataset for job in jobs for _repeat in range(plan.repeats))
    assert (trainings["iemocap"], trainings["mosei"], trainings.total()) == (2460, 201, 2661)
    blocks = Counter((job.dataset, job.system, job.regime) for job in jobs)
    incomplete = ("mctn", "mmin", "if_mmin", "nmer", "nmer_no_vae", "nmer_no_inv")
    for dataset, folds in (("iemocap", 10), ("mosei", 1)):
        expected = {(dataset, stage, "clean"): folds for stage in ("men", "shared", "two_tower")}
        expected |= {(dataset, system, "incomplete"): 8 * folds for system in incomplete}
        expected |= {(dataset, system, "all_noisy"): 4 * folds for system in incomplete[:4]}
        if dataset == "iemocap":
            expected |= {(dataset, f"unimodal_{m}", "all_noisy"): 5 * folds for m in "avl"}
        assert {block: count for block, count in blocks.items() if block[0] == dataset} == expected


def test_jobs_of_the_papers_grid_have_distinct_settings_and_files(make_plan, paper_data):
    plan = make_plan("paper", data=str(paper_data))
    settings, models = [], []
    for job in plan.trainings():
        corruption = job.corruption and job.corruption.name
        models.append(plan.model(job.dataset, job.system, job.regime, job.fold, corruption))
        names = {"dataset": job.dataset, "regime": job.regime, "fold": job.fold}
        stage = {"stage": job.system} if job.system in ("shared", "two_tower") else {"system": job.system}
        settings.append(plan.training_settings(wildcards(**names, **stage, corruption=corruption)))
    assert len(set(models)) == len(set(settings)) == 887


def test_every_score_of_the_papers_grid_uses_models_of_the_grid(make_plan, paper_data):
    plan = make_plan("paper", data=str(paper_data))
    trained = {
        plan.model(job.dataset, job.system, job.regime, job.fold, job.corruption and job.corruption.name)
        for job in plan.trainings()
    }
    used = set()
    for dataset, system, regime, corruption in plan.evaluations():
        names = {"dataset": dataset, "system": system, "regime": regime, "corruption": corruption.name}
        used |= set(plan.models(wildcards(**names)))
    teachers = {model for model in trained if "teachers" in model.parts}
    assert used == trained - teachers
    assert len(teachers) == 2 * 11
    # MEN's one training per fold is tested at every level of both kinds.
    men = [corruption.name for dataset, system, _, corruption in plan.evaluations() if (dataset, system) == MEN]
    assert sorted(men) == sorted(f"{kind}_{level}dB" for kind in ("gaussian", "impulse") for level in FOUR_LEVELS)


def test_every_training_has_a_separate_model_path(make_plan):
    plan = make_plan("demo")
    models = [
        plan.model(job.dataset, job.system, job.regime, job.fold, job.corruption and job.corruption.name)
        for job in plan.trainings()
    ]
    assert len(set(models)) == len(models)


def test_files_have_the_documented_paths(make_plan):
    plan = make_plan()
    root = Path("results/tiny")
    clean = plan.model("tiny_mosei", "men", "clean", 1)
    assert clean == root / "runs/tiny_mosei/men/clean/fold1/model.safetensors"
    assert plan.features("tiny_mosei") == Path("results/features/tiny_mosei.h5")
    assert plan.noisy("tiny_mosei", "gaussian_-10dB") == Path("results/noisy/tiny_mosei/gaussian_-10dB.h5")
    noisy = plan.model("tiny_mosei", "nmer", "incomplete", 1, "gaussian_-10dB")
    assert noisy == root / "runs/tiny_mosei/nmer/incomplete/gaussian_-10dB/fold1/model.safetensors"
    teacher = plan.teacher(wildcards(dataset="tiny_mosei", system="nmer", fold="1"))
    assert teacher == [root / "teachers/tiny_mosei/two_tower/fold1/model.safetensors"]
    assert root / "scores/tiny_mosei/men/clean/gaussian_-10dB.csv" in plan.scores()
    assert root / "scores/tiny_mosei/nmer/all_noisy/gaussian_-10dB.csv" in plan.scores()


def test_the_first_folds_of_a_corpus_are_run_and_a_fixed_split_has_one(make_plan):
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(folds=3))
    assert plan.folds("tiny_iemocap") == [1, 2, 3]
    assert plan.folds("tiny_mosei") == [1]
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].pop("folds"))
    assert plan.folds("tiny_iemocap") == list(range(1, 11))


def test_levels_can_be_set_per_noise_kind(make_plan):
    own = {"noise": ["gaussian", "impulse"], "snr_db": {"gaussian": [-10, -40], "impulse": [-10]}}
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(own, unimodal={"snr_db": [-10]}))
    assert sorted(plan.corruptions) == ["gaussian_-10dB", "gaussian_-40dB", "impulse_-10dB"]


def test_the_all_noisy_regime_runs_under_the_reference_noise_and_only_for_table_5(make_plan):
    evaluations = make_plan("demo").evaluations()
    levels = {c.name for _, system, regime, c in evaluations if regime == "all_noisy" and "unimodal" not in system}
    assert levels == {"gaussian_-10dB"}
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(tables=[1, 2], systems=["men", "nmer"]))
    assert all(regime != "all_noisy" for _, _, regime, _ in plan.evaluations())


def unimodal_jobs(plan, system: str = "unimodal_v") -> tuple[list, list]:
    """Trainings and evaluations of one uni-modal system: (dataset, regime, corruption)."""
    trainings = [
        (j.dataset, j.regime, j.corruption and j.corruption.name) for j in plan.trainings() if j.system == system
    ]
    evaluations = [(d, regime, c and c.name) for d, name, regime, c in plan.evaluations() if name == system]
    return trainings, evaluations


def test_figure_3_shows_the_configured_noise_kinds(make_plan):
    def show_impulse(config):
        own = config["experiments"]["demo"]
        own.update(noise=["gaussian", "impulse"], snr_db={"gaussian": [-10, -40], "impulse": [-10]})
        own["embedding"] = {"noise": ["impulse", "gaussian"]}

    names = [path.name for path in make_plan("demo", show_impulse).panels("demo_iemocap")]
    assert names == ["impulse_-10dB", "gaussian_-10dB", "gaussian_-40dB"]


def test_the_uni_modality_benchmark_is_trained_at_every_level_from_0_db_and_has_a_clean_reference(make_plan):
    plan = make_plan("demo")
    everything = [("clean", None), *(("all_noisy", f"gaussian_{level}dB") for level in (0, -40))]
    for found in unimodal_jobs(plan):
        assert sorted(found, key=str) == sorted((("demo_iemocap", *job) for job in everything), key=str)
    assert "gaussian_0dB" in plan.corruptions
    # 0 dB is a level of this benchmark alone.
    others = {c.name for _, system, _, c in plan.evaluations() if "unimodal" not in system}
    assert "gaussian_0dB" not in others
    assert [path.name for path in plan.panels("demo_iemocap")] == ["gaussian_-10dB", "gaussian_-40dB"]
    score = Path("results/demo/scores/demo_iemocap/unimodal_v/clean/clean.csv")
    assert score in plan.scores()


def test_the_uni_modality_benchmark_can_be_trained_clean_and_tested_noisy(make_plan):
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(unimodal={"train_clean": True, "snr_db": [5]}))
    trainings, evaluations = unimodal_jobs(plan)
    assert sorted(trainings) == [("demo_iemocap", "clean", None), ("demo_mosei", "clean", None)]
    assert sorted(evaluations) == [(name, "clean", "gaussian_5dB") for name in ("demo_iemocap", "demo_mosei")]


def test_without_table_4_no_uni_modal_system_is_trained(make_plan):
    systems = ["men", "unimodal_v"]
    with pytest.raises(ConfigError, match="'unimodal_v' is only run for Table 4"):
        make_plan("demo", lambda c: c["experiments"]["demo"].update(tables=[2], systems=systems))
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(tables=[2], systems=["men"]))
    assert unimodal_jobs(plan) == ([], [])
    assert "unimodal" not in json.loads(plan.tables_settings(4))


def test_only_table_4_depends_on_the_uni_modality_benchmark(make_plan):
    plan = make_plan("demo")
    other = make_plan("demo", lambda c: c["experiments"]["demo"]["unimodal"].update(clean_reference=False))
    for table in (2, 3, 5):
        assert plan.tables_settings(table) == other.tables_settings(table)
    assert plan.tables_settings(4) != other.tables_settings(4)


def test_0_db_is_only_made_for_datasets_of_the_uni_modality_benchmark(make_plan):
    plan = make_plan("demo")
    two = ["gaussian_-10dB", "gaussian_-40dB"]
    assert sorted(plan.corruptions_of("demo_mosei")) == two
    assert sorted(plan.corruptions_of("demo_iemocap")) == sorted([*two, "gaussian_0dB"])


def test_a_level_with_a_decimal_point_is_the_same_level(make_plan):
    plan = make_plan("demo", lambda c: c["experiments"]["demo"].update(snr_db=[-10.0], unimodal={"snr_db": [-10]}))
    assert sorted(plan.corruptions) == ["gaussian_-10dB"]


def test_the_scope_of_the_variances_reaches_the_trainings_on_noisy_features(make_plan):
    plan = make_plan("tiny", lambda c: c["noise"].update(calibration={"scope": "valid_frames"}))
    assert json.loads(plan.training_settings(TRAIN))["scope"] == "valid_frames"
    men = wildcards(dataset="tiny_mosei", system="men", regime="clean", fold="1")
    assert "scope" not in json.loads(plan.training_settings(men))


def test_jobs_read_the_settings_that_the_plan_writes(make_plan, tmp_path):
    file = tmp_path / "taught.py"
    file.write_text(
        '@system("taught", pretraining="pupil_teacher")\nclass Taught:\n    pass\n\n\n'
        '@system("pupil_teacher", regimes=())\nclass Teacher:\n    width: int = 3\n'
    )

    def change(config):
        config["noise"] |= {"train_draws": 4, "calibration": {"scope": "valid_frames"}}
        config["training"]["batch_size"] = 7
        config["systems"] = {
            "taught": {"file": str(file)},
            "pupil_teacher": {"file": str(file), "width": 5},
        }
        config["experiments"]["tiny"] |= {"systems": ["taught"]}

    plan = make_plan("tiny", change)
    job = wildcards(
        experiment="tiny",
        dataset="tiny_mosei",
        system="taught",
        regime="incomplete",
        corruption="gaussian_-10dB",
        fold="1",
    )
    common = {"dataset": "tiny_mosei", "system": "taught", "regime": "incomplete", "repeats": 2, "noise": "gaussian"}
    common |= {"snr_db": -10, "evaluation": "one_condition", "file": str(file)}
    training = TrainingSettings(batch_size=7, constant_epochs=1, decay_epochs=1)
    teacher = {"file": str(file), "options": {"width": 5}}
    assert RunSettings.from_mapping(json.loads(plan.training_settings(job))) == RunSettings(
        **common, fold=1, teacher=teacher, scope="valid_frames", train_draws=4, training=training
    )
    found = EvaluationSettings.from_mapping(json.loads(plan.evaluation_settings(job)))
    assert found == EvaluationSettings(**common, folds=[1])


def test_men_is_mmins_teacher_and_is_trained_once_even_if_it_is_not_configured(make_plan):
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(systems=["mmin"]))
    jobs = [(job.dataset, job.system, job.regime) for job in plan.trainings()]
    assert jobs.count(("tiny_mosei", "men", "clean")) == 1
    mmin = wildcards(dataset="tiny_mosei", system="mmin", regime="incomplete", corruption="gaussian_-10dB", fold="1")
    assert plan.teacher(mmin) == [Path("results/tiny/runs/tiny_mosei/men/clean/fold1/model.safetensors")]


def test_an_ablation_inherits_the_configured_options_that_it_declares(make_plan):
    def change(config):
        config["systems"] = {"nmer": {"heads": 8, "invariance_weight": 3.0}, "nmer_no_inv": {"layers": 2}}
        config["experiments"]["tiny"]["systems"] = ["nmer", "nmer_no_inv", "nmer_no_vae"]

    plan = make_plan("tiny", change)

    def options(system: str) -> dict:
        return json.loads(plan.training_settings(wildcards(**vars(TRAIN) | {"system": system})))["options"]

    assert options("nmer") == {"layers": 1, "feed_forward": 16, "heads": 8, "invariance_weight": 3.0}
    assert options("nmer_no_inv") == {"layers": 2, "feed_forward": 16, "heads": 8}
    assert options("nmer_no_vae") == {"invariance_weight": 3.0}


def test_the_form_of_the_invariant_features_determines_the_pretraining(make_plan):
    plan = make_plan("tiny", lambda c: c.update(systems={"nmer": {"invariance": "stacked"}}))
    assert plan.teacher(TRAIN) == [Path("results/tiny/teachers/tiny_mosei/shared/fold1/model.safetensors")]
    assert {job.system for job in plan.trainings()} >= {"shared", "nmer"}
    # NMER then shares IF-MMIN's pretraining, which is trained once.
    plan = make_plan("tiny", lambda c: c.update(systems={"nmer": {"invariance": "stacked"}}))
    plan.systems.append("if_mmin")
    assert [job.system for job in plan.trainings()].count("shared") == 2


TRAIN = wildcards(dataset="tiny_mosei", system="nmer", regime="incomplete", corruption="gaussian_-10dB", fold="1")


def test_settings_omit_defaults(make_plan):
    plan = make_plan("tiny", lambda c: c["training"].update(learning_rate=0.0002, clip_norm=2.0))
    settings = json.loads(plan.training_settings(TRAIN))
    assert settings == {
        "dataset": "tiny_mosei",
        "system": "nmer",
        "regime": "incomplete",
        "noise": "gaussian",
        "snr_db": -10,
        "fold": 1,
        "repeats": 2,
        "evaluation": "one_condition",
        "options": {"layers": 1, "feed_forward": 16},
        "training": {"constant_epochs": 1, "decay_epochs": 1, "clip_norm": 2.0},
    }


def test_options_of_an_experiment_override_general_ones(make_plan):
    def change(config):
        config["systems"] = {"nmer": {"layers": 4, "heads": 8}}

    options = json.loads(make_plan("tiny", change).training_settings(TRAIN))["options"]
    assert options == {"layers": 1, "feed_forward": 16, "heads": 8}


def with_invariant_features(**forms: str):
    return lambda c: c.update(systems={name: {"invariant_features": form} for name, form in forms.items()})


def test_the_form_of_the_invariant_features_reaches_a_system_and_its_pretraining(make_plan):
    plan = make_plan("tiny", with_invariant_features(nmer="tanh", two_tower="tanh"))
    trained = json.loads(plan.training_settings(TRAIN))
    assert trained["options"] == {"layers": 1, "feed_forward": 16, "invariant_features": "tanh"}
    assert trained["teacher"] == {"options": {"invariant_features": "tanh"}}
    stage = json.loads(plan.training_settings(wildcards(dataset="tiny_mosei", stage="two_tower", fold="1")))
    assert stage["options"] == {"invariant_features": "tanh"}
    # Default values change no job.
    default, written = make_plan("tiny"), make_plan("tiny", with_invariant_features(nmer="raw", two_tower="raw"))
    assert written.training_settings(TRAIN) == default.training_settings(TRAIN)


@pytest.mark.parametrize("forms", [{"nmer": "tanh"}, {"two_tower": "tanh"}, {"nmer": "tanh", "two_tower": "sigmoid"}])
def test_a_system_whose_pretraining_has_another_form_of_invariant_features_is_refused(make_plan, forms):
    with pytest.raises(ConfigError, match=r"^systems\.two_tower\.invariant_features: .* Set both to the same value\.$"):
        make_plan("tiny", with_invariant_features(**forms))


def test_pretraining_is_shorter_by_default(make_plan, tmp_path):
    stage = wildcards(dataset="tiny_mosei", stage="two_tower", fold="1")
    plan = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(training={}))
    assert json.loads(plan.training_settings(stage))["training"] == {
        "constant_epochs": 20,
        "decay_epochs": 20,
        "clip_norm": 0.5,
    }
    plan = make_plan("tiny")
    assert json.loads(plan.training_settings(stage))["training"] == {
        "constant_epochs": 1,
        "decay_epochs": 1,
        "clip_norm": 0.5,
    }


def test_noise_settings_do_not_depend_on_the_experiment(make_plan):
    corruption = wildcards(dataset="tiny_mosei", corruption="gaussian_-10dB")
    other = make_plan("tiny", lambda c: c["experiments"]["tiny"].update(repeats=9, systems=["men"]))
    assert make_plan().corruption_settings(corruption) == other.corruption_settings(corruption)
    assert make_plan().calibration_settings(corruption) == other.calibration_settings(corruption)
    # The same eps is used at every SNR, so the settings of the noise do not contain the level.
    assert "snr_db" not in json.loads(make_plan().corruption_settings(corruption))


def test_settings_of_a_system_do_not_contain_options_of_others(make_plan):
    men = wildcards(dataset="tiny_mosei", system="men", regime="clean", fold="1")
    change = {"nmer": {"invariance_weight": 3.0}}
    other = make_plan("tiny", lambda c: c.update(systems=change))
    assert make_plan().training_settings(men) == other.training_settings(men)
    assert make_plan().training_settings(TRAIN) != other.training_settings(TRAIN)


def test_a_custom_system_is_planned_without_importing_its_file(make_plan, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "raise RuntimeError('imported')\n"
        "@system('mine', pretraining='men', regimes=('incomplete',))\n"
        "class Mine:\n    width: int = 8\n"
    )

    def change(config):
        config["systems"] = {"mine": {"file": str(file), "width": 16}}
        config["experiments"]["tiny"]["systems"] = ["mine"]

    plan = make_plan("tiny", change)
    mine = wildcards(dataset="tiny_mosei", system="mine", regime="incomplete", corruption="gaussian_-10dB", fold="1")
    settings = json.loads(plan.training_settings(mine))
    assert (settings["file"], settings["options"]) == (str(file), {"width": 16})
    assert plan.teacher(mine) == [Path("results/tiny/runs/tiny_mosei/men/clean/fold1/model.safetensors")]


def test_an_experiment_can_override_whether_models_are_kept(make_plan):
    assert make_plan().keeps_models
    assert not make_plan("tiny", lambda c: c["training"].update(keep_models=False)).keeps_models

    def keep_in_this_experiment(config):
        config["training"]["keep_models"] = False
        config["experiments"]["tiny"]["training"]["keep_models"] = True

    assert make_plan("tiny", keep_in_this_experiment).keeps_models


def noise_kinds_config(**noise: object) -> dict:
    kinds = {"lose_few": {"kind": "drop_frames", "share": 0.2}}
    return {"noise": {"kinds": kinds, **noise}}


def test_kinds_without_an_snr_are_run_once_under_their_own_name(make_plan):
    keys = {"noise": ["gaussian", "zero", "lose_few"], "snr_db": [-10, -20]}
    plan = make_plan(change=lambda c: c["experiments"]["tiny"].update(keys), **noise_kinds_config())
    assert list(plan.corruptions) == ["gaussian_-10dB", "gaussian_-20dB", "zero", "lose_few"]
    assert plan.snr_db == {"gaussian": [-10, -20], "zero": [], "lose_few": []}
    assert {path.name for path in plan.scores() if "nmer/incomplete" in str(path)} == {
        "gaussian_-10dB.csv",
        "gaussian_-20dB.csv",
        "zero.csv",
        "lose_few.csv",
    }
    job = wildcards(dataset="tiny_mosei", corruption="lose_few")
    assert json.loads(plan.calibration_settings(job)) == {"dataset": "tiny_mosei", "noise": "lose_few"}
    assert json.loads(plan.corruption_settings(job)) == {
        "dataset": "tiny_mosei",
        "noise": "lose_few",
        "kind": "drop_frames",
        "options": {"share": 0.2},
    }


def test_the_reference_noise_has_an_snr_if_any_kind_has_one(make_plan):
    for kinds, reference in ((["zero", "impulse"], "impulse"), (["zero"], "zero")):
        keys = {"noise": kinds, "snr_db": [-10] if "impulse" in kinds else {}}
        plan = make_plan(change=lambda c, keys=keys: c["experiments"]["tiny"].update(keys))
        assert plan.reference_noise == reference
    # A name can be redefined as a kind without an SNR.
    keys = {"noise": ["gaussian", "impulse"], "snr_db": [-10]}
    plan = make_plan(
        change=lambda c: c["experiments"]["tiny"].update(keys), noise={"kinds": {"gaussian": {"kind": "zero"}}}
    )
    assert plan.reference_noise == "impulse"


@pytest.mark.parametrize(("draws", "copies", "trained"), [(1, None, None), (4, 4, 4), ("fresh", None, "fresh")])
def test_training_draws_reach_only_the_cache_and_noisy_trainings(make_plan, draws, copies, trained):
    plan = make_plan(**noise_kinds_config(train_draws=draws))
    noisy = wildcards(dataset="tiny_mosei", system="nmer", regime="incomplete", corruption="gaussian_-10dB", fold=1)
    clean = wildcards(dataset="tiny_mosei", system="men", regime="clean", fold=1)
    stage = wildcards(dataset="tiny_mosei", stage="two_tower", fold=1)
    assert json.loads(plan.corruption_settings(noisy)).get("draws") == copies
    assert json.loads(plan.training_settings(noisy)).get("train_draws") == trained
    for other in (clean, stage):
        assert "train_draws" not in json.loads(plan.training_settings(other))
    plain = make_plan()
    assert (plan.code("train.py", noisy) == plain.code("train.py", noisy)) == (draws != "fresh")
    assert plan.code("train.py", clean) == plain.code("train.py", clean)


def test_schedule_and_matching_reach_only_the_calibration(make_plan):
    changed = noise_kinds_config(schedule="sigmoid", fixed_chain=1000, calibration={"match": "effective"})
    plan, plain = make_plan(**changed), make_plan()
    job = wildcards(dataset="tiny_mosei", system="nmer", regime="incomplete", corruption="gaussian_-10dB", fold=1)
    settings = json.loads(plan.calibration_settings(job))
    assert settings["schedule"] == {"shape": "sigmoid", "chain": 1000}
    assert settings["match"] == "effective"
    for settings_of in (Plan.corruption_settings, Plan.training_settings, Plan.evaluation_settings):
        assert settings_of(plan, job) == settings_of(plain, job)


def test_memory_covers_libraries_and_four_times_the_raw_files_and_grows_with_the_attempt(make_plan, paper_data):
    with (paper_data / "mosei_senti_data.pkl").open("wb") as stream:
        stream.truncate(300 * 2**20)
    plan = make_plan("paper", data=str(paper_data))
    mosei = wildcards(dataset="mosei")
    assert [plan.memory_mb(mosei, attempt) for attempt in (1, 2, 3)] == [2700, 5400, 8100]
    assert make_plan().memory_mb(wildcards(dataset="tiny_mosei"), 1) == 1500


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        ({}, (1, 0)),
        ({"device": "auto", "gpu_from_mb": 315}, (0, 0)),
        ({"gpu_from_mb": 314}, (1, 0)),
        ({"gpu_from_mb": 0}, (1, 1)),
        ({"device": "gpu"}, (1, 1)),
        ({"device": "cpu"}, (0, 0)),
    ],
)
def test_small_corpora_are_trained_on_the_cpu_by_default(make_plan, paper_data, compute, expected):
    with (paper_data / "mosei_senti_data.pkl").open("ab") as stream:
        stream.truncate(300 * 2**20)  # 314.6 MB

    def change(config):
        config["compute"] |= compute
        config["experiments"]["paper"] |= {"datasets": ["mosei", "tiny_mosei"], "unimodal": {}}

    plan = make_plan("paper", change, data=str(paper_data))
    assert (plan.gpus("mosei"), plan.gpus("tiny_mosei")) == expected
    for note, gpu, size in zip(plan.device_notes(), expected, ("315 MB", "generated"), strict=True):
        assert ("a GPU" if gpu else "the CPU") in note
        assert (size in note) == ("device" not in compute or compute["device"] == "auto")


def test_the_device_is_not_part_of_any_settings(make_plan):
    def settings(compute):
        plan = make_plan(change=lambda config: config["compute"].update(compute))
        run = wildcards(dataset="tiny_mosei", system="men", regime="clean", fold="1")
        return [plan.training_settings(run), plan.report_settings(), plan.tables_settings()]

    assert settings({}) == settings({"device": "gpu"}) == settings({"gpu_from_mb": 1})


def test_a_corpus_is_read_from_the_data_folder_or_from_where_it_was_generated(make_plan, paper_data):
    plan = make_plan("paper", data=str(paper_data))
    iemocap, mosei = wildcards(dataset="iemocap"), wildcards(dataset="mosei")
    assert plan.source(iemocap) == paper_data / "IEMOCAP_features_2021"
    assert plan.source(mosei) == paper_data / "mosei_senti_data.pkl"
    assert plan.corpus_inputs(mosei) == {"source": paper_data / "mosei_senti_data.pkl", "digest": []}
    assert plan.corpus_inputs(iemocap) == {"source": paper_data / "IEMOCAP_features_2021", "digest": []}
    plan, root = make_plan(), Path("results/corpora")
    for dataset, source in (
        ("tiny_iemocap", root / "tiny_iemocap"),
        ("tiny_mosei", root / "tiny_mosei/mosei_senti_data.pkl"),
    ):
        assert plan.source(wildcards(dataset=dataset)) == source
        inputs = plan.corpus_inputs(wildcards(dataset=dataset))
        assert inputs == {"source": root / dataset, "digest": root / f"{dataset}.sha256"}
    assert plan.data == "data"
    assert plan.digests([Path("a/b.h5"), Path("c.h5")]) == ["a/b.h5.sha256", "c.h5.sha256"]


def test_training_curves_are_of_the_highest_and_the_lowest_snr_in_any_order(make_plan):
    def change(config):
        config["experiments"]["tiny"] |= {
            "systems": ["men", "nmer", "unimodal_a"],
            "noise": ["impulse", "gaussian"],
            "snr_db": [-20, -40, 0, -10],
        }

    root = Path("results/tiny/runs/tiny_mosei")
    assert make_plan(change=change).histories("tiny_mosei") == [
        root / "men/clean/fold1/history.csv",
        root / "nmer/incomplete/gaussian_0dB/fold1/history.csv",
        root / "nmer/incomplete/gaussian_-40dB/fold1/history.csv",
    ]
    one = make_plan().histories("tiny_mosei")
    assert one[1:] == [root / "nmer/incomplete/gaussian_-10dB/fold1/history.csv"]
    without = make_plan(change=lambda c: c["experiments"]["tiny"].update(systems=["nmer"], noise=["zero"], snr_db={}))
    assert without.histories("tiny_mosei") == [root / "nmer/incomplete/zero/fold1/history.csv"]


def test_the_settings_of_a_panel_omit_defaults(make_plan):
    w = wildcards(dataset="tiny_mosei", corruption="gaussian_-10dB")
    plain = {"dataset": "tiny_mosei", "noise": "gaussian", "snr_db": -10}
    defaults = {"samples": 128, "perplexity": 30, "seed": 0}
    for embedding in ({}, defaults):
        plan = make_plan(change=lambda c, e=embedding: c["experiments"]["tiny"].update(embedding=e))
        assert json.loads(plan.embedding_settings(w)) == plain
    other = {"samples": 5, "perplexity": 2.5, "seed": 7}
    plan = make_plan(change=lambda c: c["experiments"]["tiny"].update(embedding=other | {"noise": ["gaussian"]}))
    assert json.loads(plan.embedding_settings(w)) == plain | other


def test_configured_tables_and_figures_are_in_the_order_of_the_report(make_plan):
    configured = {"tables": [5, 2], "figures": ["figure3", "recall", "robustness"]}
    plan, root = make_plan(change=lambda c: c["experiments"]["tiny"].update(configured)), Path("results/tiny")
    assert plan.table_stems() == [root / "tables/table5", root / "tables/table2"]
    assert plan.figure_stems() == [
        root / "figures" / name
        for name in ("robustness", *(f"{kind}_{d}" for kind in ("recall", "figure3") for d in plan.datasets))
    ]
    assert plan.distances() == [root / f"figures/figure3_{dataset}.csv" for dataset in plan.datasets]
    bare = make_plan(change=lambda c: [c["experiments"]["tiny"].pop("figures"), c.pop("compute")])
    assert len(bare.figure_stems()) == 2 + 6 * 2
    assert (bare.tables, bare.threads, bare.keeps_noise, bare.downloads) == ([1, 2, 3, 4, 5], 1, True, [])
    assert make_plan(change=lambda c: c["experiments"]["tiny"].pop("repeats") and None).repeats == 3


def test_any_dataset_with_download_addresses_can_be_fetched(make_plan):
    addresses = [{"url": "https://example.org/x.zip", "unpack": True}]
    plan = make_plan(change=lambda c: c["datasets"]["mosi"].update(download=addresses))
    assert plan.downloads == ["mosi"]
    assert json.loads(plan.fetch_settings("mosi")) == {"dataset": "mosi", "download": addresses}


def test_settings_of_a_store_describe_its_corpus_and_configuration(make_plan, paper_data):
    plain = json.loads(make_plan().features_settings(wildcards(dataset="tiny_iemocap")))
    described = {"dataset": "tiny_iemocap", "layout": "iemocap_mmin", "paper_name": "IEMOCAP"}
    assert plain == described | {"synthetic": True}
    configured = {
        "dims": {"a": 74},
        "classes": ["negative", "positive"],
        "standardize": ["v"],
        "folds": 1,
        "options": {"limit_gib": 4},
    }
    plan = make_plan("paper", lambda c: c["datasets"]["mosei"].update(configured), data=str(paper_data))
    expected = {"dataset": "mosei", "layout": "mosei_pickle", "paper_name": "CMU-MOSEI"} | configured
    expected["evaluation"] = "one_condition"
    assert json.loads(plan.features_settings(wildcards(dataset="mosei"))) == expected
    corpus = json.loads(make_plan().corpus_settings(wildcards(dataset="tiny_iemocap")))
    generate = {"utterances": 120, "dims": {"a": 8, "v": 6, "l": 10}, "frames": {"a": 6, "v": 4, "l": 6}}
    assert corpus == {"dataset": "tiny_iemocap", "layout": "iemocap_mmin", "generate": generate}


def test_settings_of_tables_contain_the_runs(make_plan):
    plan = make_plan("demo")
    all_three = {"synthetic": True, "modalities": ["a", "v", "l"]}
    shared = {
        "datasets": {
            "demo_iemocap": all_three | {"paper_name": "IEMOCAP", "evaluation": "every_condition"},
            "demo_mosei": all_three | {"paper_name": "CMU-MOSEI", "evaluation": "one_condition"},
        },
        "systems": plan.config["experiments"]["demo"]["systems"],
        "snr_db": {"gaussian": [-10, -40]},
        "reference_noise": "gaussian",
    }
    unimodal = {"datasets": ["demo_iemocap"], "snr_db": [0, -40], "clean_reference": True}
    assert json.loads(plan.tables_settings()) == json.loads(plan.tables_settings(2)) == shared
    assert json.loads(plan.tables_settings(5)) == shared | {"all_noisy_snr_db": [-10]}
    assert json.loads(plan.tables_settings(4)) == shared | {"unimodal": unimodal}
    report = json.loads(plan.report_settings())
    assert {key: report[key] for key in (*shared, "unimodal", "experiment")} == (
        shared | {"unimodal": unimodal, "experiment": "demo"}
    )
    assert report["config"]["experiment"] == {"demo": plan.config["experiments"]["demo"]}
    assert list(report["config"]["datasets"]) == ["demo_iemocap", "demo_mosei"]
    assert report["config"]["noise"] == plan.config["noise"]


def test_the_reference_is_the_key_or_nmer_or_the_first_trained_system(make_plan):
    def reference_system(**keys):
        plan = make_plan(change=lambda c: c["experiments"]["tiny"].update(keys))
        return ReportSettings.from_mapping(json.loads(plan.scored_settings())).reference_system

    assert reference_system() == "nmer"
    assert reference_system(reference="men") == "men"
    assert reference_system(systems=["majority", "men", "mmin"]) == "men"
    with pytest.raises(ConfigError, match=r"tiny.reference: 'mem' is not a multimodal system .*Did you mean 'men'\?"):
        reference_system(reference="mem")


def test_metrics_affect_only_tables_figures_and_report(make_plan):
    plan = make_plan()
    other = make_plan(change=lambda c: c["experiments"]["tiny"].update(metrics=["F1", "WF1"]))
    assert "metrics" not in json.loads(plan.tables_settings())
    assert json.loads(other.tables_settings())["metrics"] == ["F1", "WF1"]
    job = wildcards(dataset="tiny_mosei", system="nmer", regime="incomplete", corruption="gaussian_-10dB", fold="1")
    assert plan.training_settings(job) == other.training_settings(job)
    assert plan.evaluation_settings(job) == other.evaluation_settings(job)
    with pytest.raises(ConfigError, match=r"experiments.tiny.metrics: unknown metric 'WAA'. Did you mean 'WA'\?"):
        make_plan(change=lambda c: c["experiments"]["tiny"].update(metrics=["WAA"]))


# demo_media needs optional packages.
@pytest.mark.parametrize("experiment", sorted(shipped_config()["experiments"].keys() - {"demo_media"}))
def test_every_training_of_a_shipped_experiment_has_a_rule(make_plan, paper_data, experiment):
    plan = make_plan(experiment, data=str(paper_data))
    for training in plan.trainings():
        is_teacher = "teachers" in plan.trained(training).parts
        assert training.system in (plan.pretrained_names if is_teacher else plan.trained_names)
