"""The learner of one repeat, used on a CPU: the plain form of a training step.

``stacked.py`` computes the same for all repeats of a job at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nmer.plan.conditions import FRESH_COPY
from nmer.plan.settings import RunSettings
from nmer.seeds import derive_seed
from nmer.systems.blocks.repeats import drawn_alike
from nmer.systems.interface import Encoding, System, summed
from nmer.training.batches import epoch_batches, make_batch
from nmer.training.data import FoldData
from nmer.training.inference import BATCH, classify, encode, logits
from nmer.training.initial_weights import initial_system
from nmer.training.loop import Losses
from nmer.training.optimiser import AdamW
from nmer.training.precision import loss_terms
from nmer.training.teacher_targets import TeacherTargets
from nmer.training.validation_split import ValidationSplit

if TYPE_CHECKING:
    from nmer.noisy_embeddings.fresh_noise import FreshNoise


class OneByOne:
    """One repeat of a system with its optimiser."""

    def __init__(
        self,
        build: Callable[[], System],
        data: FoldData,
        settings: RunSettings,
        repeat: int,
        teacher: System | None = None,
        fresh: FreshNoise | None = None,
    ) -> None:
        """build: creates the system. teacher: frozen, pretrained on the same fold and repeat; the system starts from
        its weights. fresh: source of the noise of every epoch if ``settings.train_draws`` is fresh; the data then have
        the spare copy FRESH_COPY."""
        self.repeats, self.device = [repeat], data.device
        self._system = initial_system(build, data.device, settings, repeat, teacher)
        options = settings.training
        self._optimiser = AdamW(self._system.parameters(), options.learning_rate, options.weight_decay)
        self._targets = TeacherTargets(teacher, data) if teacher is not None else None
        self._data, self._settings, self._fresh = data, settings, fresh
        self._validation = ValidationSplit(data, settings)

    def train_epoch(self, epoch: int, learning_rate: float) -> Losses:
        """Same as :meth:`Learner.train_epoch`."""
        (repeat,) = self.repeats
        if self._fresh is not None:
            self._fresh.draw(self._data, FRESH_COPY, repeat, epoch)
            if self._targets is not None:
                self._targets.discard(FRESH_COPY)
        torch.manual_seed(epoch_seed(self._settings, repeat, epoch))
        self._optimiser.set_learning_rate(learning_rate)
        batches = epoch_batches(self._data, self._settings, [repeat], epoch)
        system = self._system.train()
        names, steps = list[str](), list[Tensor]()
        with drawn_alike(self.device):
            for part in batches:
                batch = make_batch(
                    self._data, part.rows, part.noisy, self._targets, system.modalities, part.copies, part.longest()
                )
                terms = loss_terms(system, batch, self._settings.training)
                self._optimiser.zero_grad(set_to_none=True)
                summed(terms.values()).backward()
                for subnetwork in system.subnetworks():
                    torch.nn.utils.clip_grad_norm_(subnetwork.parameters(), self._settings.training.clip_norm)
                self._optimiser.step()
                names = list(terms)
                steps.append(torch.stack([term.detach() for term in terms.values()]))
        # Losses are read once per epoch: each read synchronises a GPU.
        values = torch.stack(steps).double().cpu().numpy()
        return Losses(names, values[:, :, None], [len(batch.rows) for batch in batches])

    @torch.inference_mode()
    def validate(self) -> list[dict[str, float]]:
        """Same as :meth:`Learner.validate`."""
        system = self._system.eval()

        def predict(encodings: dict[str, Encoding], noisy: dict[str, Tensor]) -> Tensor:
            if self._validation.needs_logits:
                return self._validation.to_predictions(logits(system, encodings, noisy))
            return classify(system, encodings, noisy).argmax(dim=-1)

        predictions = self._validation.predict(
            system.modalities,
            lambda modality, rows, copies: encode(system, self._data, modality, rows, copies),
            predict,
            BATCH,
        )
        return [self._validation.scores(predictions.cpu().numpy())]

    def weights(self, _repeat: int) -> dict[str, Tensor]:
        """Same as :meth:`Learner.weights`."""
        return {key: value.detach().clone() for key, value in self._system.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return system, optimiser and the teacher's encodings, which would differ by rounding if computed again."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"system": self._system, "optimiser": self._optimiser}
        return parts | ({"targets": self._targets} if self._targets is not None else {})


def epoch_seed(settings: RunSettings, repeat: int, epoch: int) -> int:
    """Return the seed of all random draws of a repeat in an epoch, including dropout."""
    return derive_seed("epoch", settings.system, settings.dataset, settings.fold, repeat, epoch)
