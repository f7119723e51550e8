"""One update on the learner's device: two task gradients, combined, clipped, stepped along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER
from torch import Tensor

from rllib_dbf import loss_terms
from rllib_dbf.auxiliary import auxiliary_networks
from rllib_dbf.averaging import share_of, sum_over_learners
from rllib_dbf.barrier_terms import BarrierTerm
from rllib_dbf.config import DBFConfig
from rllib_dbf.device_rows import RowsBatch
from rllib_dbf.figures import Trouble, figures_of
from rllib_dbf.functional.devices import current, is_wide
from rllib_dbf.generators import make_generator, restore, state_of
from rllib_dbf.gradient_combiner import GradientCombiner
from rllib_dbf.module import TeamRLModule
from rllib_dbf.objectives import OBJECTIVES, td_settings
from rllib_dbf.optimizers import Stepper, total_norm
from rllib_dbf.recording import Aside, Recorder
from rllib_dbf.team import TrainBatch

_BARRIER_STREAM = 999  # keeps the barrier's draws apart from the quantile fractions'


class GradientStep:
    """Loss terms → gradient combination → clipped step.

    With several learners every one takes the same step: each takes its share of the replayed
    episodes and all of the latest, and both task gradients are summed over the learners before
    they are combined, because projecting is not linear.

    Args:
        module: The networks, on `device`.
        config: How they learn.
        device: Where.
        index: Of the learner, among several.
        optimizers: Of the team's networks (`DEFAULT_OPTIMIZER`) and of those beside them.
    """

    def __init__(
        self,
        module: TeamRLModule,
        config: DBFConfig,
        device: torch.device,
        index: int,
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        self._module, self._config, self._device = module, config, device
        self._td, self._objective = td_settings(config), OBJECTIVES[config.objective].loss
        self._taus = make_generator(device, config.seed, index)
        if config.correction_in_targets:
            self._td = self._td._replace(allowed=module.correction.allowed)
        settings = config.barrier_settings(module.n_agents)
        # The same draws for every learner: all of them see the same on-policy episodes.
        draws = make_generator(device, config.seed, _BARRIER_STREAM)
        self._barrier = None if settings is None else BarrierTerm(settings, draws)
        self._shared = list(module.utility.parameters())
        self._mixing = [*module.mixer.parameters(), *module.joint.parameters()]
        layers = [name.rpartition(".")[0] for name, _ in module.utility.named_parameters()]
        self._combiner = GradientCombiner(config, layers)
        self._steppers = {name: Stepper(x, device) for name, x in optimizers.items()}
        self._auxiliary = auxiliary_networks(
            module, config, self._barrier, self._steppers.__getitem__
        )
        self._figures, self._aside = figures_of(device), Aside(device)
        self._recorder = self._make_recorder()

    def _make_recorder(self) -> Recorder | None:
        """What repeats updates on a GPU, where they are such that this is possible."""
        if self._device.type != "cuda" or not (self.recordable and self._config.record_updates):
            return None
        draws = [] if self._barrier is None else [self._barrier.generator]
        return Recorder(self._learn, [self._taus, *draws], self._device)

    @property
    def recordable(self) -> bool:
        """Whether updates ask for no number in between, of the device or of other learners."""
        barrier = self._barrier is None or self._barrier.recordable
        return barrier and self._combiner.recordable and self._config.num_learners <= 1

    def __call__(self, batch: TrainBatch | RowsBatch, env_steps: int) -> None:
        """Learn from a batch in the processor's memory.

        On another device nothing waits for it: whether all went well is known when `trouble` or
        `means` are asked.

        Args:
            batch: Replayed and latest episodes.
            env_steps: Team steps sampled so far, which the barrier's annealing follows.
        """
        with current(self._device):
            self._follow(batch, self._combiner.share(env_steps))

    def _follow(self, batch: TrainBatch | RowsBatch, share: float) -> None:
        for stepper in self._steppers.values():
            stepper.follow_rates()
        if is_wide(self._device):
            batch = batch.padded()
        if self._recorder is not None and share in (0.0, 1.0):
            self._recorder(batch, share)
        else:
            self._learn(batch.to(self._device), share)

    def trouble(self) -> Trouble | None:
        """The first update that was not finite, if there was one: the weights are those before it.

        On a device that is not waited for, no update after it has moved them either.
        """
        return self._figures.trouble()

    def means(self) -> dict[str, float]:
        """Figures to log, means over the updates since the last call."""
        return self._figures.means()

    def _learn(self, batch: TrainBatch | RowsBatch, barrier_share: float) -> None:
        """One update from a batch on the device; on a GPU nothing here waits for the device."""
        batch = batch.episodes()
        self._aside.begin()
        gradients, stats = self._td_gradient(batch)
        barrier: list[Tensor] | None = None
        ended = batch.on_policy is not None and barrier_share == 0.0
        with self._aside:
            if batch.on_policy is not None:
                barrier, figures = self._barrier_gradient(batch, ended)
                stats |= figures
            auxiliary = [part.gradients(batch) for part in self._auxiliary]
        self._aside.join()
        beside = [g for found, _ in auxiliary for g in found]
        if self._config.num_learners > 1:
            sum_over_learners(gradients + (barrier or []) + beside)
        if barrier is not None:
            gradients, figures = self._combiner.combine(gradients, barrier, barrier_share)
            stats |= figures
        elif ended:
            gradients, figures = self._combiner.without_barrier(gradients)
            stats |= figures
        norm = total_norm(gradients)
        for _, figures in auxiliary:
            stats |= figures
        stats["gradient_norm"] = norm
        self._figures.add(stats, sum((g.norm() for g in beside), norm))
        halted = self._figures.halted
        if halted is True:  # a processor knows, a GPU is told
            return
        scale = None
        if self._config.grad_clip is not None:
            scale = (self._config.grad_clip / (norm + 1e-6)).clamp(max=1.0)
        team = self._shared + self._mixing
        self._steppers[DEFAULT_OPTIMIZER].step(team, gradients, scale, halted)
        for part, (found, _) in zip(self._auxiliary, auxiliary, strict=True):
            part.step(found, halted)

    def _td_gradient(self, batch: TrainBatch) -> tuple[list[Tensor], dict[str, Tensor]]:
        module, replay, config = self._module, batch.replay, self._config
        if self._barrier is not None:
            critic = getattr(module, "barrier_critic", None)
            replay = replay._replace(reward=self._barrier.reward(replay, critic))
        head = module.utility.head
        taus = loss_terms.draw_taus(
            replay,
            config.n_quantiles,
            config.n_target_quantiles,
            config.share_taus,
            self._taus,
            fixed=head.fixed_fractions or not head.distributional,
            fractions=head.fractions,
        )
        loss, stats = self._objective(module.online, module.target, replay, taus, self._td)
        share = share_of(replay.mask, config.num_learners)
        gradients = torch.autograd.grad(loss * share, self._shared + self._mixing)
        return list(gradients), {"td_loss": loss.detach(), **stats}

    def _barrier_gradient(
        self, batch: TrainBatch, ended: bool
    ) -> tuple[list[Tensor] | None, dict[str, Tensor]]:
        """None where the barrier has no gradient of its own, or has it no more."""
        assert batch.on_policy is not None and self._barrier is not None
        if ended:
            return None, self._barrier.figures(batch.on_policy)
        critic = getattr(self._module, "barrier_critic", None)
        loss, stats = self._barrier.loss(self._module.online, batch.on_policy, critic)
        if loss is None:
            return None, stats
        loss = loss / max(1, self._config.num_learners)
        gradients = torch.autograd.grad(loss, self._shared, allow_unused=True)
        filled = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(self._shared, gradients, strict=True)
        ]
        return filled, stats

    def get_state(self) -> dict[str, Any]:
        """Generators, and what is carried from update to update, for a checkpoint."""
        return {
            "tau_generator": state_of(self._taus),
            "barrier": self._barrier and self._barrier.get_state(),
            "running_gradients": self._combiner.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned; weights and optimisers are settled already."""
        restore(self._taus, state["tau_generator"])
        if self._barrier is not None and state.get("barrier") is not None:
            self._barrier.set_state(state["barrier"])
        self._combiner.set_state(state.get("running_gradients"), self._device)

    def settle(self) -> None:
        """Take note that weights and optimisers have been replaced."""
        for stepper in self._steppers.values():
            stepper.settle()
        self._figures.forget()
        if self._recorder is not None:
            self._recorder.forget()
