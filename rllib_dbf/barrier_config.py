"""The settings of the barrier: eqs 4 to 8 of the DBF paper and every reading of them."""

from __future__ import annotations

from typing import Any, no_type_check

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided

from rllib_dbf.barrier_estimators import BARRIER_ESTIMATORS, BarrierSettings
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
    "barrier_penalty": 1.0,
    "max_gradient_ratio": 0.1,
    "action_correction": "off",
    "correction_alpha": 0.1,
    "correction_horizon": 1,
    "correction_lr": 1e-3,
    "correction_in_targets": False,
    "learn_from": "executed",
}


class BarrierConfig(AlgorithmConfig):
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
    barrier_penalty: float
    gradient_combination: str
    beta_q: float
    beta_b: float
    beta_q_agreeing: float | None
    beta_b_agreeing: float | None
    gradient_scope: Scope
    max_gradient_ratio: float
    action_correction: str
    correction_alpha: float
    correction_horizon: int
    correction_lr: float
    correction_in_targets: bool
    learn_from: str

    def _set_barrier_defaults(self) -> None:
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
        barrier_penalty: float = NotProvided,
        gradient_combination: str = NotProvided,
        beta_q: float = NotProvided,
        beta_b: float = NotProvided,
        beta_q_agreeing: float | None = NotProvided,
        beta_b_agreeing: float | None = NotProvided,
        gradient_scope: str = NotProvided,
        max_gradient_ratio: float = NotProvided,
        action_correction: str = NotProvided,
        correction_alpha: float = NotProvided,
        correction_horizon: int = NotProvided,
        correction_lr: float = NotProvided,
        correction_in_targets: bool = NotProvided,
        learn_from: str = NotProvided,
        **kwargs: Any,
    ) -> BarrierConfig:
        """Sets what the barrier is.

        With the barrier off none of these has an effect. A setting that the chosen estimator or
        combination does not use is refused unless it has its default.

        Args:
            barrier_estimator: "off", or how eq. 5 comes to act: "score" (score function),
                "critic" (counterfactual critic), "gumbel" (Gumbel-softmax through a joint
                critic), "penalty" (reward r - η δ, no second gradient); or a control, "zero"
                (everything but the gradient), "shuffled" (weights permuted over transitions).
            gamma_b: γ_B of eq. 4 in [0, 1): how far before a death the blame reaches.
            lambda_b: λ_B of eq. 5 in [0, 1]: decay rate asked of the barrier.
            omega: Deaths an episode may have before the barrier acts: a number, a formula of the
                team size n such as "n/2", or None for "n-1".
            on_policy_episodes: Latest episodes the barrier looks at (K).
            barrier_deaths: c of eq. 4: "new" deaths on arrival or "cumulative" dead agents.
            barrier_tail: Barrier after the last state: "zero" or "absorbing".
            barrier_normaliser: Mean of eq. 5 over "transitions", "trajectories" or "states".
            barrier_weights: w_t of the score function: "myopic" (δ_t), "to_go" (Σ_k≥t g^(k-t) δ_k)
                or "control_variate" (unbiased for the sum of δ; needs new deaths, zero tail).
            barrier_to_go_discount: g of "to_go" in [0, 1].
            barrier_baseline: "mean" or "none": what is subtracted from the weights.
            barrier_standardise: Divide the weights by their standard deviation, at least 1e-4.
            policy_temperature: T of the policy softmax(q / T) that is differentiated: a number, or
                "std" for the running standard deviation of q over the available actions.
            importance_clip: Greatest importance ratio of the score function.
            barrier_critic_lr: Learning rate of the barrier critic's own Adam.
            barrier_penalty: η of the "penalty" estimator, at least 0.
            gradient_combination: "sum", "pcgrad" (symmetric, eqs 7-8) or "pcgrad_one_way" (only
                the barrier gradient is projected, and capped).
            beta_q: β_Q, weight of the TD gradient where the two conflict (g_Q · g_B < 0).
            beta_b: β_B, weight of the barrier gradient where the two conflict.
            beta_q_agreeing: β_Q where they agree; None: as in conflict.
            beta_b_agreeing: β_B where they agree; None: as in conflict.
            gradient_scope: Parameters over which conflict and projection are taken: "shared" (the
                utility network), "all" (and the mixer), "per_layer" (each layer by itself).
            max_gradient_ratio: Cap of |g_B| / |g_Q| for "pcgrad_one_way".
            action_correction: What may overrule an agent's action: "off" or "cbf" (a learnt
                control barrier function). Needs no barrier estimator and goes with any preset.
            correction_alpha: α of "cbf" in [0, 1]: share of its safety an agent may lose per step.
            correction_horizon: K of "cbf": an agent is in danger this many steps before it dies.
                What lies further ahead follows from h; a longer label blames the way to danger too.
            correction_lr: Learning rate of the correction's own Adam.
            correction_in_targets: Bootstrap from corrected greedy actions, not from the proposals.
            learn_from: Which action values are learnt for: the "executed" one, or the "proposed"
                one that was overruled.
            **kwargs: RLlib's own training settings.

        Returns:
            This updated configuration.
        """
        own = {k: v for k, v in locals().items() if k in BARRIER_DEFAULTS}
        super().training(**kwargs)
        for name, value in own.items():
            if value is not NotProvided:
                setattr(self, name, value)
        return self

    @property
    def barrier_critic(self) -> str | None:
        """The critic that the estimator needs, a name in `BARRIER_CRITICS`, or None."""
        if self.barrier_estimator == "off":
            return None
        return BARRIER_ESTIMATORS[self.barrier_estimator].critic

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
        )

    @property
    def auxiliary_rates(self) -> dict[str, float]:
        """Learning rates of the module's parts that have an optimiser of their own."""
        rates = {}
        if self.barrier_critic is not None:
            rates["barrier_critic"] = self.barrier_critic_lr
        if self.action_correction != "off":
            rates["correction"] = self.correction_lr
        return rates

    @property
    def safety_model_config(self) -> dict[str, Any]:
        """What the module has to know of the barrier and the action correction."""
        names = ("barrier_critic", "action_correction", "correction_alpha", "correction_horizon")
        return {name: getattr(self, name) for name in names}

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
        )
