"""The learner: loss terms → gradient combination → clipped step → target update."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core import ALL_MODULES, DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
)
from torch import Tensor

from rllib_dbf import loss_terms
from rllib_dbf.auxiliary import auxiliary_networks
from rllib_dbf.averaging import share_of, sum_over_learners
from rllib_dbf.barrier_terms import BarrierTerm
from rllib_dbf.config import DBFConfig
from rllib_dbf.gradient_combiner import GradientCombiner
from rllib_dbf.module import TeamRLModule
from rllib_dbf.objectives import OBJECTIVES, td_settings
from rllib_dbf.optimizers import OPTIMIZERS
from rllib_dbf.team import TrainBatch

_BARRIER_STREAM = 999  # keeps the barrier's draws apart from the quantile fractions'


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
        super().build()
        config = self.config
        self._td = td_settings(config)
        self._objective = OBJECTIVES[config.objective].loss
        self._barrier = self._build_barrier()
        self._tau_generator = torch.Generator(device=self._device)
        if config.seed is None:
            self._tau_generator.seed()
        else:
            self._tau_generator.manual_seed(int(config.seed) * 1_000 + self._learner_index)
        self._episodes_at_target_update = 0
        self._updates = 0
        self._steps_trained = 0
        self._sums: dict[str, Tensor] = {}
        self._sum_counts: dict[str, int] = {}
        module = self._team_module()
        self._shared = list(module.utility.parameters())
        self._mixing = [*module.mixer.parameters(), *module.joint.parameters()]
        layers = [name.rpartition(".")[0] for name, _ in module.utility.named_parameters()]
        self._combiner = GradientCombiner(config, layers)
        self._auxiliary = auxiliary_networks(
            module, config, self._barrier, lambda name: self.get_optimizer(DEFAULT_MODULE_ID, name)
        )

    def _build_barrier(self) -> BarrierTerm | None:
        settings = self.config.barrier_settings(self._team_module().n_agents)
        if settings is None:
            return None
        generator = torch.Generator(device=self._device)
        if self.config.seed is None:
            generator.seed()
        else:  # the same for every learner: all of them see the same on-policy episodes
            generator.manual_seed(int(self.config.seed) * 1_000 + _BARRIER_STREAM)
        return BarrierTerm(settings, generator)

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
                optimizer=torch.optim.Adam(params, lr=lr, foreach=True),
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
        self._step(batch.to(self._device), self._combiner.share(sampled))
        self._update_target(episodes_sampled)
        if not reduce_metrics:
            return {}
        self.after_gradient_based_update(timesteps=timesteps or {})
        self._log_sums()
        return self.metrics.reduce()

    def _step(self, batch: TrainBatch, barrier_share: float) -> None:
        gradients, stats = self._td_gradient(batch)
        stats_b: dict[str, Tensor] = {}
        barrier: list[Tensor] | None = None
        ended = batch.on_policy is not None and barrier_share == 0.0
        if batch.on_policy is not None:
            barrier, stats_b = self._barrier_gradient(batch, ended)
        auxiliary = [part.gradients(batch) for part in self._auxiliary]
        beside = [g for found, _ in auxiliary for g in found]
        if self.config.num_learners > 1:
            sum_over_learners(gradients + (barrier or []) + beside)
        if barrier is not None:
            gradients, met = self._combiner.combine(gradients, barrier, barrier_share)
            stats_b |= met
        elif ended:
            gradients, met = self._combiner.without_barrier(gradients)
            stats_b |= met
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        for _, figures in auxiliary:
            stats_b |= figures
        self._check_finite(sum((g.norm() for g in beside), norm), stats | stats_b)
        if self.config.grad_clip is not None:
            scale = (self.config.grad_clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, scale)
        for parameter, gradient in zip(self._shared + self._mixing, gradients, strict=True):
            parameter.grad = gradient
        self.get_optimizer(DEFAULT_MODULE_ID).step()
        for part, (found, _) in zip(self._auxiliary, auxiliary, strict=True):
            part.step(found)
        self._add(stats | stats_b | {"gradient_norm": norm})
        self._updates += 1
        self._steps_trained += int(batch.replay.mask.sum())

    def _td_gradient(self, batch: TrainBatch) -> tuple[list[Tensor], dict[str, Tensor]]:
        module, replay = self._team_module(), batch.replay
        if self._barrier is not None:
            critic = getattr(module, "barrier_critic", None)
            replay = replay._replace(reward=self._barrier.reward(replay, critic))
        if self.config.correction_in_targets:
            replay = replay._replace(avail=module.correction.allowed(replay.obs, replay.avail))
        head = module.utility.head
        taus = loss_terms.draw_taus(
            replay,
            self.config.n_quantiles,
            self.config.n_target_quantiles,
            self.config.share_taus,
            self._tau_generator,
            fixed=head.fixed_fractions,
            fractions=head.fractions,
        )
        loss, stats = self._objective(module.online, module.target, replay, taus, self._td)
        loss = loss * share_of(replay.mask, self.config.num_learners)
        gradients = torch.autograd.grad(loss, self._shared + self._mixing)
        return list(gradients), {"td_loss": loss.detach(), **stats}

    def _barrier_gradient(
        self, batch: TrainBatch, ended: bool
    ) -> tuple[list[Tensor] | None, dict[str, Tensor]]:
        """None where the barrier has no gradient of its own, or has it no more."""
        assert batch.on_policy is not None and self._barrier is not None
        if ended:
            return None, self._barrier.figures(batch.on_policy)
        module = self._team_module()
        critic = getattr(module, "barrier_critic", None)
        loss, stats = self._barrier.loss(module.online, batch.on_policy, critic)
        if loss is None:
            return None, stats
        loss = loss / max(1, self.config.num_learners)
        gradients = torch.autograd.grad(loss, self._shared, allow_unused=True)
        filled = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self._shared, gradients, strict=True)
        ]
        return filled, stats

    def _check_finite(self, norm: Tensor, stats: dict[str, Tensor]) -> None:
        if bool(torch.isfinite(norm)):
            return
        figures = ", ".join(f"{name}={float(value):g}" for name, value in stats.items())
        raise NonFiniteUpdateError(
            f"update {self._updates + 1}: the gradient norm is {float(norm):g} ({figures}). The "
            "weights were left as before this update and the last checkpoint is intact. Lower "
            f"lr (now {self._get_optimizer_lr(self.get_optimizer(DEFAULT_MODULE_ID)):g}) or "
            "grad_clip, or check the rewards for extreme values."
        )

    def _update_target(self, episodes_sampled: int) -> None:
        since = episodes_sampled - self._episodes_at_target_update
        if since >= self.config.target_update_interval:
            module = self._team_module()
            module.target.copy_from(module.online)
            self._episodes_at_target_update = episodes_sampled

    def _add(self, stats: dict[str, Tensor]) -> None:
        for name, value in stats.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
            self._sum_counts[name] = self._sum_counts.get(name, 0) + 1

    def _log_sums(self) -> None:
        for name, total in self._sums.items():
            mean = float(total) / self._sum_counts[name]
            self.metrics.log_value((DEFAULT_MODULE_ID, name), mean, window=1)
        self.metrics.log_value(
            (ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME),
            self._steps_trained,
            reduce="lifetime_sum",
        )
        key = (DEFAULT_MODULE_ID, "num_updates_lifetime")
        self.metrics.log_value(key, self._updates, reduce="max", window=1)
        self._sums, self._sum_counts, self._steps_trained = {}, {}, 0

    @override(Learner)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's learner state plus target-update counter and quantile generator."""
        state = super().get_state(*args, **kwargs)
        state["team_learner"] = {
            "episodes_at_target_update": self._episodes_at_target_update,
            "updates": self._updates,
            "tau_generator": self._tau_generator.get_state().numpy(),
            "barrier": self._barrier and self._barrier.get_state(),
            "running_gradients": self._combiner.get_state(),
        }
        return state

    @override(Learner)
    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        super().set_state(state)
        if "team_learner" in state:
            mine = state["team_learner"]
            self._episodes_at_target_update = int(mine["episodes_at_target_update"])
            self._updates = int(mine["updates"])
            self._tau_generator.set_state(torch.from_numpy(mine["tau_generator"].copy()))
            if self._barrier is not None and mine.get("barrier") is not None:
                self._barrier.set_state(mine["barrier"])
            self._combiner.set_state(mine.get("running_gradients"), self._device)

    @override(Learner)
    def compute_loss_for_module(self, **kwargs: Any) -> Tensor:
        """Not used: `update` differentiates the loss terms one by one."""
        raise NotImplementedError("TeamLearner takes two task gradients; see TeamLearner.update")
