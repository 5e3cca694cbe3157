"""The systems of an experiment: options, training keys, variants under other names, teachers.

A *variant* is a system under another name with other options or training keys (``systems.<name>.kind``). Seeds,
settings and files follow its kind, so that equal trainings are run once. Pure except for reading plug-in declarations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from nmer.errors import ConfigError, nearest
from nmer.names import MIXED, REGIMES, UNIMODAL_SYSTEMS
from nmer.plan.reserved import refuse_reserved
from nmer.plan.settings import merged_training, training_settings
from nmer.plugins import Declaration
from nmer.references.registry import REFERENCES, references
from nmer.systems.registry import pretraining, regimes, systems

OWN_KEYS = ("file", "kind", "title", "training")
"""Keys of a system's section that are not options of its plug-in."""


def kind_of(sections: Mapping[str, Any], name: str) -> str:
    """Return the plug-in of a system. sections: the section ``systems``."""
    kind: str = sections.get(name, {}).get("kind", name)
    return kind


def file_of(sections: Mapping[str, Any], name: str) -> str | None:
    """Return the custom file of a system's plug-in, None for a shipped one."""
    own: str | None = sections.get(name, {}).get("file")
    return own or sections.get(kind_of(sections, name), {}).get("file")


def declared(sections: Mapping[str, Any], name: str) -> Declaration:
    """Return the declaration of a system's plug-in or of a reference row.

    Raises ConfigError if there is none, or if one of its options has the name of a key in OWN_KEYS.
    """
    kind = kind_of(sections, name)
    if kind in REFERENCES:
        return references.declaration(kind)
    return refuse_reserved(systems.declaration(kind, file_of(sections, name)), OWN_KEYS)


def check_kinds(sections: Mapping[str, Any]) -> None:
    """Check the kinds of the variants in the section ``systems``. Raises ConfigError for the first fault."""
    reserved = {*systems.shipped(), *REFERENCES}
    for name in sections:
        where, kind = f"systems.{name}", kind_of(sections, name)
        if name in REFERENCES:
            raise ConfigError(f"{where}: a reference row has no options. Remove it.")
        if name in (*REGIMES, MIXED):
            raise ConfigError(f"{where}: '{name}' is the name of a regime or of mixed levels. Choose another.")
        if kind == name:
            continue
        _check_own(name, sections[name])
        if name in reserved:
            raise ConfigError(f"{where}.kind: '{name}' is itself a system. Choose another name for the variant.")
        if (base := kind_of(sections, kind)) != kind:
            raise ConfigError(f"{where}.kind: '{kind}' is itself a variant. Write kind: {base} and its options.")
        if kind in UNIMODAL_SYSTEMS or kind in REFERENCES:
            sort = "a reference row" if kind in REFERENCES else "a system of the uni-modality benchmark"
            raise ConfigError(f"{where}.kind: '{kind}' is {sort}, which has no variants. Choose another kind.")


def check_titles(sections: Mapping[str, Any], names: list[str]) -> None:
    """Check that no two systems of an experiment have the same printed name. Raises ConfigError if two have."""
    printed: dict[str, str] = {}
    for name in sorted(names, key=lambda name: "title" in sections.get(name, {})):
        title = sections.get(name, {}).get("title", name)
        # Shipped systems are printed in capitals, with hyphens.
        other = printed.setdefault(re.sub(r"[-_ ]+", "_", title.casefold()), name)
        if other != name:
            raise ConfigError(f"systems.{name}.title: '{title}' is the printed name of '{other}' too. Choose another.")


def check_sections(sections: Mapping[str, Any], check_training: Callable[[Mapping[str, Any], str], None]) -> None:
    """Check files, options and training keys of the section ``systems``. Raises ConfigError for the first fault.

    check_training: raises ConfigError for a mapping of training keys, given with its key.
    """
    for name, section in sections.items():
        try:
            declaration = declared(sections, name)
        except ConfigError as error:
            raise ConfigError(f"systems{'' if kind_of(sections, name) == name else f'.{name}.kind'}: {error}") from None
        check_section(section, declaration, f"systems.{name}", check_training)


def check_section(
    section: Mapping[str, Any],
    declaration: Declaration,
    where: str,
    check_training: Callable[[Mapping[str, Any], str], None],
) -> None:
    """Check the options and training keys of a system. Raises ConfigError. where: the key of the system."""
    for option in options_in(section):
        if option not in declaration.options:
            raise ConfigError(f"{where}: unknown key '{option}'. {nearest(option, [*declaration.options, *OWN_KEYS])}")
    declaration.check_options(options_in(section), where)
    training = section.get("training", {})
    if "pretraining" in training and declaration.attributes.get("pretraining", "none") == "none":
        raise ConfigError(f"{where}.training.pretraining: '{declaration.name}' has no pretraining. Remove the key.")
    check_training(training, f"{where}.training")


def options_in(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a system's section."""
    return {key: value for key, value in section.items() if key not in OWN_KEYS}


def _check_own(name: str, section: Mapping[str, Any]) -> None:
    """Refuse ``kind`` as an option of a system that the section's own file declares under the section's name."""
    try:
        declaration = systems.declaration(name, section["file"]) if "file" in section else None
    except ConfigError:  # the file declares another system, of which this is a variant
        return
    if declaration:
        refuse_reserved(declaration, OWN_KEYS)


@dataclass(frozen=True)
class Teacher:
    """A pretraining that systems start from.

    given: its ``file`` and its ``options`` that are not at their default. training: its training keys.
    """

    stage: str
    given: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


class Systems:
    """The systems of an experiment with their configuration."""

    def __init__(
        self, sections: Mapping[str, Any], overrides: Mapping[str, Any], names: list[str], training: Mapping[str, Any]
    ) -> None:
        """sections: the section ``systems``. overrides: ``system_options`` of the experiment. names: its systems.
        training: the experiment's section ``training``, which keys of systems override."""
        self._sections, self._overrides, self._names = sections, overrides, names
        self._general = [asdict(training_settings(training, pretraining)) for pretraining in (False, True)]
        self._declarations: dict[str, Declaration] = {}

    def kind(self, name: str) -> str:
        """Return the plug-in of a system, or the stage of a teacher."""
        if name in self._teachers:
            return self._teachers[name].stage
        return kind_of(self._sections, name)

    def declaration(self, name: str) -> Declaration:
        """Return the declaration of that plug-in."""
        if name not in self._declarations:
            plugin = self._teachers[name].stage if name in self._teachers else name
            self._declarations[name] = declared(self._sections, plugin)
        return self._declarations[name]

    def given(self, name: str) -> dict[str, Any]:
        """Return ``file`` and ``options`` of a system where they are not at their default."""
        if name in self._teachers:
            return self._teachers[name].given
        return self._non_default(name)

    def training(self, name: str) -> dict[str, Any]:
        """Return the training keys of a system that override those of the experiment, without those of its teacher."""
        if name in self._teachers:
            return self._teachers[name].training
        return {key: value for key, value in self._training(name).items() if key != "pretraining"}

    def teacher(self, name: str) -> str | None:
        """Return the name of a system's teacher: its stage, or ``stage.system`` for a teacher of this system only."""
        return self._teacher_names.get(self.trained_as(name)) if name not in self._teachers else None

    def trained_as(self, name: str) -> str:
        """Return the name under which a system is trained: of its kind or an equal variant, or its own.

        Trainings are equal if options, file and training keys are. Those of the kind apply to its variants too.
        """
        if name in self._teachers or kind_of(self._sections, name) == name:
            return name
        return self._shared.get(name, name)

    def title(self, name: str) -> str:
        """Return the printed name of a system in the configuration, or an empty string."""
        title: str = self._sections.get(name, {}).get("title", "")
        return title

    def difference(self, name: str) -> dict[str, Any]:
        """Return the options and ``training.`` keys of a variant that differ from its kind, with their values."""
        kind = kind_of(self._sections, name)
        own, base = ({**self._options(each), **_flat(self._training(each))} for each in (name, kind))
        return {key: value for key, value in own.items() if key not in base or base[key] != value}

    @cached_property
    def _shared(self) -> dict[str, str]:
        """Variant -> name of the equal training, if there is one."""
        names: dict[str, str] = {}
        trainings: dict[str, list[tuple[str, Any]]] = {}  # by kind: names and what they are trained with
        for name in self._names:
            kind = kind_of(self._sections, name)
            if kind == name:
                continue
            distinct = trainings.setdefault(kind, [(kind, self._trained_with(kind))])
            own = self._trained_with(name)
            if same := next((other for other, training in distinct if training == own), None):
                names[name] = same
            else:
                distinct.append((name, own))
        return names

    def _trained_with(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings that distinguish trainings of a kind: file and options, and training keys."""
        return self._non_default(name), self._training(name)

    @cached_property
    def _teacher_names(self) -> dict[str, str]:
        """System -> the name of its teacher."""
        return self._assigned[0]

    @cached_property
    def _teachers(self) -> dict[str, Teacher]:
        """Teachers that differ from their stage, by name."""
        return self._assigned[1]

    @cached_property
    def _assigned(self) -> tuple[dict[str, str], dict[str, Teacher]]:
        names: dict[str, str] = {}
        own: dict[str, Teacher] = {}
        for name in self._names:
            trained = name if kind_of(self._sections, name) == name else self._shared.get(name, name)
            if kind_of(self._sections, trained) in REFERENCES or not (stage := self._stage(trained)):
                continue
            options = self._wanted(trained, stage)
            plain = Teacher(stage, self._non_default(stage), self._training(stage))
            if options == plain:
                names[trained] = stage
                continue
            same = next((other for other, teacher in own.items() if teacher == options), f"{stage}.{trained}")
            names[trained] = same
            own[same] = options
        return names, own

    def _wanted(self, name: str, stage: str) -> Teacher:
        """Return the teacher of a system: its stage, with training keys and options from the system.

        A variant sets the options of its teacher that the pretraining passes on; otherwise they are checked.
        """
        changes = self._non_default(stage)
        if kind_of(self._sections, name) != name:
            options, declaration = dict(changes.get("options", {})), declared(self._sections, name)
            effective = declaration.options | self._non_default(name).get("options", {})
            stage_declaration = declared(self._sections, stage)
            for option in stage_declaration.attributes.get("passed_on", ()):
                if option in declaration.options:
                    options[option] = effective[option]
            options = non_default(options, stage_declaration.options)
            changes = {key: value for key, value in changes.items() if key != "options"}
            changes |= {"options": options} if options else {}
        return Teacher(stage, changes, self._training(stage) | self._training(name).get("pretraining", {}))

    def _stage(self, name: str) -> str | None:
        return pretraining(declared(self._sections, name), self._non_default(name).get("options"))

    def _non_default(self, name: str) -> dict[str, Any]:
        declaration, file = declared(self._sections, name), file_of(self._sections, name)
        options = non_default(self._options(name), declaration.options)
        return ({"file": file} if file else {}) | ({"options": options} if options else {})

    def _options(self, name: str) -> dict[str, Any]:
        declaration = declared(self._sections, name)
        options: dict[str, Any] = {}
        if base := declaration.attributes.get("ablation_of"):
            # An ablation differs from its system only in what it leaves out.
            options = {option: value for option, value in self._options(base).items() if option in declaration.options}
        return options | options_in(self._merged(name))

    def _training(self, name: str) -> dict[str, Any]:
        """Return the training keys that differ from those of the experiment."""
        of_run, of_stage = self._general
        overrides, is_stage = self._given_training(name), not regimes(declared(self._sections, name))
        own = _changed(overrides, of_stage if is_stage else of_run)
        stage = _changed(overrides.get("pretraining", {}), of_stage)
        return own | ({"pretraining": stage} if stage else {})

    def _given_training(self, name: str) -> dict[str, Any]:
        base = declared(self._sections, name).attributes.get("ablation_of")
        return merged_training(self._given_training(base) if base else {}, self._merged(name).get("training", {}))

    def _merged(self, name: str) -> dict[str, Any]:
        """Merge the sections of a system, specific over general: of its kind, then of itself."""
        merged: dict[str, Any] = {}
        for each in dict.fromkeys((kind_of(self._sections, name), name)):
            for source in (self._sections, self._overrides):
                section = source.get(each, {})
                training = merged_training(merged.get("training", {}), section.get("training", {}))
                merged |= section | ({"training": training} if training else {})
        return merged


def non_default(values: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a plug-in that are not at their default."""
    return {key: value for key, value in values.items() if key in default and value != default[key]}


def _changed(values: Mapping[str, Any], general: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "pretraining" and value != general[key]}


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in training.items():
        if isinstance(value, Mapping):
            flat |= {f"training.{key}.{inner}": nested for inner, nested in value.items()}
        else:
            flat[f"training.{key}"] = value
    return flat
