"""The learner: loss terms → gradient combination → clipped step → target update."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ray.rllib.core import ALL_MODULES, COMPONENT_OPTIMIZER, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER, Learner
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
)
from torch import Tensor

from rllib_dbf.config import DBFConfig
from rllib_dbf.gradient_step import GradientStep
from rllib_dbf.memory import keep_freed_memory
from rllib_dbf.module import TeamRLModule
from rllib_dbf.optimizers import OPTIMIZERS, auxiliary_optimizer
from rllib_dbf.team import TrainBatch


class NonFiniteUpdateError(RuntimeError):
    """A loss or gradient was NaN or infinite; the weights are those before the update."""


class TeamLearner(TorchLearner):
    """One update: TD gradient of replayed episodes, barrier gradient of the latest, combined.

    With several learners every one takes the same step: each takes its share of the replayed
    episodes and all of the latest, and both task gradients are summed over the learners before
    they are combined, because projecting is not linear.
    """

    config: DBFConfig

    @override(TorchLearner)
    def build(self) -> None:
        """Build module, optimiser, settings and the generator of quantile fractions."""
        keep_freed_memory()
        super().build()
        optimizers = {
            name: self.get_optimizer(DEFAULT_MODULE_ID, name)
            for name in (DEFAULT_OPTIMIZER, *self.config.auxiliary_rates)
        }
        self._gradient_step = GradientStep(
            self._team_module(), self.config, self._device, self._learner_index, optimizers
        )
        self._episodes_at_target_update = 0
        self._updates = self._updates_before = 0  # the latter when last set by a state or trouble
        self._steps_trained = 0

    def _team_module(self) -> TeamRLModule:
        module = self.module[DEFAULT_MODULE_ID]
        assert isinstance(module, TeamRLModule)
        return module

    @override(TorchLearner)
    def _make_modules_ddp_if_necessary(self) -> None:
        """No DDP: the learner reduces task gradients itself, before combining them."""

    @override(TorchLearner)
    def _log_trainable_parameters(self) -> None:
        """Nothing: RLlib logs the count once, and shows NaN in every later iteration."""

    @override(Learner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Register the optimiser of all online networks (targets take no gradient)."""
        module: Any = self.module[module_id]
        params = [parameter for part in module.online for parameter in part.parameters()]
        self.register_optimizer(
            module_id=module_id,
            optimizer=OPTIMIZERS[config.optimizer_name](params, eps=config.optimizer_eps),
            params=params,
            lr_or_lr_schedule=config.lr,
        )
        for name, lr in config.auxiliary_rates.items():
            params = list(getattr(module, name).parameters())
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=auxiliary_optimizer(params, lr, self._device),
                params=params,
                lr_or_lr_schedule=lr,
            )

    @staticmethod
    @override(Learner)
    def _set_optimizer_lr(optimizer: torch.optim.Optimizer, lr: Any) -> None:
        """As RLlib's, with a plain number: fused optimisers refuse the tensor of its schedules."""
        for group in optimizer.param_groups:
            group["lr"] = float(lr)

    @override(Learner)
    def update(
        self,
        training_data: TrainingData | None = None,
        *,
        timesteps: dict[str, Any] | None = None,
        episodes_sampled: int = 0,
        reduce_metrics: bool = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """One gradient step on one `TrainBatch`.

        Args:
            training_data: Holds the batch (or a list of one).
            timesteps: RLlib's step counts, for learning-rate schedules.
            episodes_sampled: Episodes collected so far; paces the target network.
            reduce_metrics: Return the metrics since the last time (False: keep adding up).

        Raises:
            NonFiniteUpdateError: If a loss or the gradient is not finite.
        """
        assert training_data is not None
        batch: Any = training_data.batch or (training_data.batches or [])[0]
        self._weights_seq_no += 1
        self.before_gradient_based_update(timesteps=timesteps or {})
        sampled = (timesteps or {}).get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)
        self._gradient_step(batch, sampled)
        self._updates += 1
        if self._device.type == "cpu":
            self._check_finite(batch)
        self._steps_trained += batch.steps
        self._update_target(episodes_sampled)
        if not reduce_metrics:
            return {}
        self.after_gradient_based_update(timesteps=timesteps or {})
        self._check_finite()
        self._log_figures()
        return self.metrics.reduce()

    def _check_finite(self, batch: TrainBatch | None = None) -> None:
        """Look whether an update was not finite; a GPU, which is not waited for, held all others.

        Args:
            batch: Of the update, if it is known to be the last.

        Raises:
            NonFiniteUpdateError: If one was not.
        """
        trouble = self._gradient_step.trouble()
        if trouble is None:
            return
        self._updates = self._updates_before + trouble.update - 1
        self._updates_before = self._updates
        raise NonFiniteUpdateError(
            f"update {self._updates + 1}: the gradient norm is {trouble.norm:g} "
            f"({trouble.figures}). The "
            "weights were left as before this update and the last checkpoint is intact. "
            f"{self._remedy(batch)}"
        )

    def _remedy(self, batch: TrainBatch | None) -> str:
        """What to do about an update that was not finite."""
        given = {} if batch is None else batch.replay._asdict()
        names = [n for n in ("obs", "state", "reward") if n in given]
        bad = [name for name in names if not bool(torch.isfinite(given[name]).all())]
        if bad:
            return f"The environment has given NaN or infinity as {', '.join(bad)}: look there."
        lr = self._get_optimizer_lr(self.get_optimizer(DEFAULT_MODULE_ID))
        return f"Lower lr (now {lr:g}) or grad_clip, or check the rewards for extreme values."

    def _update_target(self, episodes_sampled: int) -> None:
        since = episodes_sampled - self._episodes_at_target_update
        if since >= self.config.target_update_interval:
            module = self._team_module()
            module.target.copy_from(module.online)
            self._episodes_at_target_update = episodes_sampled

    def _log_figures(self) -> None:
        for name, mean in self._gradient_step.means().items():
            self.metrics.log_value((DEFAULT_MODULE_ID, name), mean, window=1)
        self.metrics.log_value(
            (ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME),
            self._steps_trained,
            reduce="lifetime_sum",
        )
        key = (DEFAULT_MODULE_ID, "num_updates_lifetime")
        self.metrics.log_value(key, self._updates, reduce="max", window=1)
        self._steps_trained = 0

    @override(Learner)
    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """RLlib's learner state plus "team_learner": target-update counter, generators and more.

        Raises:
            NonFiniteUpdateError: If an update was not finite.
        """
        self._check_finite()
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component("team_learner", components, not_components):
            state["team_learner"] = {
                "episodes_at_target_update": self._episodes_at_target_update,
                "updates": self._updates,
                **self._gradient_step.get_state(),
            }
        return state

    @override(Learner)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._weights_seq_no = 0  # RLlib would keep weights that are newer than those given
        if COMPONENT_OPTIMIZER in state:  # the optimiser would write into what it is given
            optimizer = copy.deepcopy(state[COMPONENT_OPTIMIZER])
            state = {**state, COMPONENT_OPTIMIZER: optimizer}
        super().set_state(state)
        self._gradient_step.settle()
        self._updates_before = self._updates
        if "team_learner" in state:
            mine = state["team_learner"]
            self._episodes_at_target_update = int(mine["episodes_at_target_update"])
            self._updates = self._updates_before = int(mine["updates"])
            self._gradient_step.set_state(mine)

    @override(Learner)
    def compute_loss_for_module(self, **kwargs: Any) -> Tensor:
        """Not used: `update` differentiates the loss terms one by one."""
        raise NotImplementedError("TeamLearner takes two task gradients; see TeamLearner.update")
