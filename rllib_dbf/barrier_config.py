"""The settings of the barrier: eqs 4 to 8 of the DBF paper and every reading of them."""

from __future__ import annotations

from typing import Any, no_type_check

from ray.rllib.algorithms.algorithm_config import NotProvided

from rllib_dbf.barrier_estimators import critic_of
from rllib_dbf.barrier_evidence import BarrierSettings
from rllib_dbf.correction_config import CorrectionConfig
from rllib_dbf.expressions import evaluate
from rllib_dbf.functional.gradient_scope import Combining, Scope

BARRIER_DEFAULTS: dict[str, Any] = {
    "barrier_estimator": "off",
    "gradient_combination": "sum",
    "gamma_b": 0.5,
    "lambda_b": 0.1,
    "beta_q": 0.5,
    "beta_b": 0.5,
    "beta_q_agreeing": None,
    "beta_b_agreeing": None,
    "gradient_scope": "shared",
    "omega": None,
    "on_policy_episodes": 8,
    "barrier_deaths": "new",
    "barrier_tail": "zero",
    "barrier_normaliser": "transitions",
    "barrier_weights": "myopic",
    "barrier_to_go_discount": 1.0,
    "barrier_baseline": "mean",
    "barrier_standardise": False,
    "policy_temperature": 1.0,
    "importance_clip": 1.0,
    "barrier_critic_lr": 1e-3,
    "barrier_critic_data": "latest",
    "barrier_critic_target": "team",
    "barrier_penalty": 1.0,
    "max_gradient_ratio": 0.1,
    "conflict_threshold": 0.0,
    "conflict_decay": 0.0,
    "barrier_annealing_steps": None,
    "multiplier_rate": 0.01,
    "exploration_temperature": None,
    "tie_break_margin": None,
}


class BarrierConfig(CorrectionConfig):
    """The part of `DBFConfig` that says what the barrier is and how its gradient is used.

    `docs/barrier.md` has the equations in the order in which they are applied.
    """

    barrier_estimator: str
    gamma_b: float
    lambda_b: float
    omega: float | str | None
    on_policy_episodes: int
    barrier_deaths: str
    barrier_tail: str
    barrier_normaliser: str
    barrier_weights: str
    barrier_to_go_discount: float
    barrier_baseline: str
    barrier_standardise: bool
    policy_temperature: float | str
    importance_clip: float
    barrier_critic_lr: float
    barrier_critic_data: str
    barrier_critic_target: str
    barrier_penalty: float
    gradient_combination: str
    beta_q: float
    beta_b: float
    beta_q_agreeing: float | None
    beta_b_agreeing: float | None
    gradient_scope: Scope
    max_gradient_ratio: float
    conflict_threshold: float
    conflict_decay: float
    barrier_annealing_steps: int | None
    multiplier_rate: float
    exploration_temperature: float | None
    tie_break_margin: float | None

    def _set_barrier_defaults(self) -> None:
        self._set_correction_defaults()
        for name, value in BARRIER_DEFAULTS.items():
            setattr(self, name, value)

    @no_type_check  # checked by `DBFConfig.training`, with a better message than a type checker's
    def training(
        self,
        *,
        barrier_estimator: str = NotProvided,
        gamma_b: float = NotProvided,
        lambda_b: float = NotProvided,
        omega: float | str | None = NotProvided,
        on_policy_episodes: int = NotProvided,
        barrier_deaths: str = NotProvided,
        barrier_tail: str = NotProvided,
        barrier_normaliser: str = NotProvided,
        barrier_weights: str = NotProvided,
        barrier_to_go_discount: float = NotProvided,
        barrier_baseline: str = NotProvided,
        barrier_standardise: bool = NotProvided,
        policy_temperature: float | str = NotProvided,
        importance_clip: float = NotProvided,
        barrier_critic_lr: float = NotProvided,
        barrier_critic_data: str = NotProvided,
        barrier_critic_target: str = NotProvided,
        barrier_penalty: float = NotProvided,
        gradient_combination: str = NotProvided,
        beta_q: float = NotProvided,
        beta_b: float = NotProvided,
        beta_q_agreeing: float | None = NotProvided,
        beta_b_agreeing: float | None = NotProvided,
        gradient_scope: str = NotProvided,
        max_gradient_ratio: float = NotProvided,
        conflict_threshold: float = NotProvided,
        conflict_decay: float = NotProvided,
        barrier_annealing_steps: int | None = NotProvided,
        multiplier_rate: float = NotProvided,
        exploration_temperature: float | None = NotProvided,
        tie_break_margin: float | None = NotProvided,
        **kwargs: Any,
    ) -> BarrierConfig:
        """Sets what the barrier is.

        With the barrier off these are kept without effect, so that one set of settings serves
        presets with and without a barrier; only `exploration_temperature` and `tie_break_margin`
        are refused then. With a barrier, a setting that the chosen estimator or combination does
        not use is refused unless it has its default.

        Args:
            barrier_estimator: "off", or how eq. 5 comes to act: "score" (score function),
                "critic" (counterfactual critic), "gumbel" (Gumbel-softmax through a joint
                critic); through the reward, "penalty" (r - η δ), "shaping" (potential -η B̂),
                "constraint" (deaths cost a Lagrange multiplier each); "prediction" (the hidden
                states are trained to foresee deaths), "watch" (deaths are foreseen, and nothing
                else); or a control, "zero" (everything but the gradient), "shuffled" (weights
                permuted over transitions).
            gamma_b: γ_B of eq. 4 in [0, 1): how far before a death the blame reaches.
            lambda_b: λ_B of eq. 5 in [0, 1]: decay rate asked of the barrier.
            omega: Deaths an episode may have before the barrier acts: a number, a formula of the
                team size n such as "n/2", or None for "n-1".
            on_policy_episodes: Latest episodes the barrier looks at (K).
            barrier_deaths: c of eq. 4: "new" deaths on arrival or "cumulative" dead agents.
            barrier_tail: Barrier after the last state: "zero" or "absorbing".
            barrier_normaliser: Mean of eq. 5 over "transitions", "trajectories" or "states", or
                the mean over "episodes" of its sum.
            barrier_weights: w_t of the score function: "myopic" (δ_t), "to_go" (Σ_k≥t g^(k-t) δ_k)
                or "control_variate" (unbiased for the sum of δ; needs new deaths, zero tail).
            barrier_to_go_discount: g of "to_go" in [0, 1].
            barrier_baseline: What is subtracted from the weights: their "mean", "none", or an
                agent's own from a counterfactual critic, expected over its policy ("critic") or at
                its least dangerous available action ("best").
            barrier_standardise: Divide the weights by their standard deviation, at least 1e-4.
            policy_temperature: T of the policy softmax(q / T) that is differentiated: a number, or
                "std" for the running standard deviation of q over the available actions.
            importance_clip: Greatest importance ratio of the score function.
            barrier_critic_lr: Learning rate of the barrier critic's own Adam.
            barrier_critic_data: Episodes the critic learns from: the "latest", or those "replayed".
            barrier_critic_target: What it foresees: the barrier of the "team", or the part that
                each of the "agents" has in it by its own death.
            barrier_penalty: η of "penalty" and "shaping", at least 0.
            gradient_combination: "sum", "pcgrad" (symmetric, eqs 7-8) or "pcgrad_one_way" (only
                the barrier gradient is projected, and capped).
            beta_q: β_Q, weight of the TD gradient where the two conflict (g_Q · g_B < 0).
            beta_b: β_B, weight of the barrier gradient where the two conflict.
            beta_q_agreeing: β_Q where they agree; None: as in conflict.
            beta_b_agreeing: β_B where they agree; None: as in conflict.
            gradient_scope: Parameters over which conflict and projection are taken: "shared" (the
                utility network), "all" (and the mixer), "per_layer" (each layer by itself).
            max_gradient_ratio: Cap of |g_B| / |g_Q| for "pcgrad_one_way".
            conflict_threshold: They conflict where their cosine is below minus this, in [0, 1).
            conflict_decay: Decay per update of the running means of g_Q and g_B that the conflict
                is tested on and projected along, in [0, 1); 0 takes the gradients of the update.
            barrier_annealing_steps: Env steps over which β_B falls linearly to 0, where the barrier
                ends; None for never.
            multiplier_rate: Step size of the multiplier of "constraint", greater than 0.
            exploration_temperature: T > 0 (in deaths) at which exploring agents draw actions in
                proportion to exp(-b/T), b the danger that "watch" or "prediction" foresees; None
                for uniform draws.
            tie_break_margin: Greedy agents take the least dangerous of the available actions that
                lack at most this share, in [0, 1], of the range between best and worst; needs
                "watch" or "prediction". None for the best action.
            **kwargs: RLlib's own training settings.

        Returns:
            This updated configuration.
        """
        own = {k: v for k, v in locals().items() if k in BARRIER_DEFAULTS}
        super().training(**kwargs)
        self._take_given(own)
        return self

    @property
    def barrier_critic(self) -> str | None:
        """The critic that the estimator needs, a name in `BARRIER_CRITICS`, or None."""
        if self.barrier_estimator == "off":
            return None
        return critic_of(self.barrier_estimator, self.barrier_baseline)

    @property
    def combining(self) -> Combining:
        """How the two gradients become one."""
        return Combining(
            self.gradient_combination,
            self.gradient_scope,
            self.beta_q,
            self.beta_b,
            agreeing=(
                self.beta_q if self.beta_q_agreeing is None else self.beta_q_agreeing,
                self.beta_b if self.beta_b_agreeing is None else self.beta_b_agreeing,
            ),
            max_ratio=self.max_gradient_ratio,
            threshold=self.conflict_threshold,
            decay=self.conflict_decay,
        )

    @property
    def auxiliary_rates(self) -> dict[str, float]:
        """Learning rates of the module's parts that have an optimiser of their own."""
        rates = {} if self.barrier_critic is None else {"barrier_critic": self.barrier_critic_lr}
        return rates | self.correction_rates

    @property
    def safety_model_config(self) -> dict[str, Any]:
        """What the module has to know of the barrier and the action correction."""
        names = ("barrier_critic", "exploration_temperature", "tie_break_margin")
        return {name: getattr(self, name) for name in names} | self.correction_model_config

    def barrier_settings(self, n_agents: int) -> BarrierSettings | None:
        """What the barrier term needs for a team of `n_agents`, or None when it is off.

        Raises:
            ExpressionError: If `omega` is no formula of n.
        """
        if self.barrier_estimator == "off":
            return None
        omega = "n-1" if self.omega is None else self.omega
        return BarrierSettings(
            estimator=self.barrier_estimator,
            gamma_b=self.gamma_b,
            lambda_b=self.lambda_b,
            omega=evaluate(omega, n=n_agents) if isinstance(omega, str) else float(omega),
            temperature=self.policy_temperature,
            baseline=self.barrier_baseline,
            importance_clip=self.importance_clip,
            deaths=self.barrier_deaths,
            tail=self.barrier_tail,
            normaliser=self.barrier_normaliser,
            weights=self.barrier_weights,
            to_go_discount=self.barrier_to_go_discount,
            standardise=self.barrier_standardise,
            penalty=self.barrier_penalty,
            multiplier_rate=self.multiplier_rate,
            gamma=self.gamma,
            critic_target=self.barrier_critic_target,
        )
