"""`DBFConfig`: every setting of every preset, typed and validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, no_type_check

import numpy as np
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.result import TRIAL_INFO
from ray.util.debug import log_once

from rllib_dbf.barrier_config import BarrierConfig
from rllib_dbf.envs.naming import find_env
from rllib_dbf.presets import PRESETS, Preset

_PARTS = [f for f in Preset._fields if f not in ("title", "paper", "status", "n_quantiles")]


class DBFConfig(BarrierConfig):
    """Configuration of DBF and of every other preset.

    Example:
        >>> from rllib_dbf import DBFConfig
        >>> config = DBFConfig().environment("smax/3m").training(gamma_b=0.5)
        >>> algo = config.build_algo()  # doctest: +SKIP
        >>> algo.train()  # doctest: +SKIP

    Example:
        >>> from ray import tune
        >>> import rllib_dbf
        >>> tuner = tune.Tuner(
        ...     "DBF",
        ...     param_space={"env": "smax/3m", "gamma_b": tune.grid_search([0.4, 0.5])},
        ... )
        >>> tuner.fit()  # doctest: +SKIP
    """

    def __init__(self, algo_class: type | None = None, *, preset: str = "dbf") -> None:
        if algo_class is None:
            from rllib_dbf.algorithm import DBF

            algo_class = DBF
        super().__init__(algo_class=algo_class)
        self._set_rllib_defaults()
        self._set_defaults()
        self.training(preset=preset)

    def _set_rllib_defaults(self) -> None:
        from rllib_dbf.runner import TeamEnvRunner

        self.env_runner_cls = TeamEnvRunner
        self.env = "smax/3m"
        self.num_envs_per_env_runner = 32
        self.create_env_on_local_worker = False
        self.gamma = 0.99
        self.lr = 1e-3
        self.grad_clip = 10.0
        self.grad_clip_by = "global_norm"
        self.min_sample_timesteps_per_iteration = 5_000
        self.metrics_num_episodes_for_smoothing = 100
        self.evaluation_interval = 2
        self.evaluation_duration = 32
        self.evaluation_duration_unit = "episodes"
        self.evaluation_config = {"explore": False}
        self._is_online = True

    def _set_defaults(self) -> None:
        self.preset = "dbf"
        self.head, self.mixer, self.td_loss = "expected", "sum", "squared"
        self.input_layer, self.objective = "linear", "td"
        self.objective_options: dict = {}
        self.risk, self.risk_level, self.risk_in_targets = "mean", 1.0, False
        self.agent_risk = 0.75
        self.hidden_dim = 64
        self.mixing_embed_dim, self.mixing_hypernet_dim = 32, 64
        self.mixing_kernels, self.mixing_kernel_layers = 10, 3
        self.mixing_weighted_heads = True
        self.input_hypernet_dim = 32
        self.n_quantiles = self.n_target_quantiles = 1
        self.td_lambda, self.double_q = 0.6, True
        self.optimizer_name, self.optimizer_eps = "adam", 1e-5
        self.epsilon: float | list = [(0, 1.0), (50_000, 0.05)]
        self.batch_episodes, self.episodes_per_update = 32, 8
        self.updates_per_collection = 1
        self.overlap_sampling: bool | None = None
        self.overlap_updates: int | None = None
        self.record_updates = True
        self.learning_starts, self.target_update_interval = 32, 200
        self.replay_capacity, self.checkpoint_replay = 5_000, True
        self._set_barrier_defaults()

    @no_type_check  # checked below, with a better message than a type checker's
    def training(
        self,
        *,
        preset: str = NotProvided,
        head: str = NotProvided,
        mixer: str = NotProvided,
        td_loss: str = NotProvided,
        objective: str = NotProvided,
        objective_options: dict = NotProvided,
        input_layer: str = NotProvided,
        risk: str = NotProvided,
        risk_level: float = NotProvided,
        risk_in_targets: bool = NotProvided,
        agent_risk: float = NotProvided,
        hidden_dim: int = NotProvided,
        mixing_embed_dim: int = NotProvided,
        mixing_hypernet_dim: int = NotProvided,
        mixing_kernels: int = NotProvided,
        mixing_kernel_layers: int = NotProvided,
        mixing_weighted_heads: bool = NotProvided,
        input_hypernet_dim: int = NotProvided,
        n_quantiles: int = NotProvided,
        n_target_quantiles: int = NotProvided,
        td_lambda: float = NotProvided,
        double_q: bool = NotProvided,
        optimizer_name: str = NotProvided,
        optimizer_eps: float = NotProvided,
        epsilon: float | list = NotProvided,
        batch_episodes: int = NotProvided,
        episodes_per_update: int = NotProvided,
        updates_per_collection: int = NotProvided,
        overlap_sampling: bool | None = NotProvided,
        overlap_updates: int | None = NotProvided,
        record_updates: bool = NotProvided,
        learning_starts: int = NotProvided,
        target_update_interval: int = NotProvided,
        replay_capacity: int = NotProvided,
        checkpoint_replay: bool = NotProvided,
        **kwargs: Any,
    ) -> DBFConfig:
        """Sets the training settings.

        Args:
            preset: Row of the preset table; sets the parts below to that row's, so give it first.
            head: Return head of the utility: "expected" (one value), "iqn" (quantiles at any
                fraction), "iqn_pair" (the same in two risks; DRIMA), "qr" (a fixed number of
                quantiles) or "cvar_qr" (judged by a learned CVaR; RMIX).
            mixer: "independent", "sum", "qmix", "qatten", "qplex", "qplex_qatten", "riskq", or
                "mean_shape(…)" of one of these.
            td_loss: "squared" or "quantile_huber".
            objective: "td" (temporal differences of the mixed value), or what a system adds to it:
                "qtran_base", "qtran_alt", "resq", "resz", "rmix", "drima".
            objective_options: Weights and sizes of the objective, for example
                {"nopt_weight": 0.1}; those not given keep their defaults. `docs/extending.md` has
                the table.
            input_layer: "linear", "hypernet" (weights from the previous step's return quantiles;
                DBF, section 4.4), "hypernet_factored" (the same idea with few weight bases) or
                "hypernet_second" (an ordinary layer, and the generated one behind it).
            risk: Risk measure that actions maximise: "mean", "cvar", "var", "wang", "cpw", "power"
                or "mean_variance" (see `functional/risk.py`).
            risk_level: Level of the risk measure, negative to seek risk: "cvar" in [-1, 0) or
                (0, 1], "var" in (0, 1], "cpw" |level| in [0.28, 1], the others any number.
            risk_in_targets: Bootstrap from the actions of greatest risk measure, not mean.
            agent_risk: w in (0, 1) at which agents with head="iqn_pair" act (DRIMA); above 1/2 they
                expect the others to do well. The risk of the environment is `risk`.
            hidden_dim: Width of the utility's layers and of its GRU.
            mixing_embed_dim: Width of the mixing network.
            mixing_hypernet_dim: Width of the hypernetworks that make mixing weights.
            mixing_kernels: Terms of QPLEX's advantage weights λ_i(s, u).
            mixing_kernel_layers: Linear layers of each network that makes λ.
            mixing_weighted_heads: Let "qplex_qatten" weigh its attention heads by |w_h(s)|.
            input_hypernet_dim: Width of the hypernetwork of the input layer.
            n_quantiles: Return quantiles per prediction (1 for expected values).
            n_target_quantiles: Return quantiles per target.
            td_lambda: λ of TD(λ) targets in [0, 1]; 0 is one-step.
            double_q: Take the greedy target action from the online network.
            optimizer_name: "adam" or "rmsprop".
            optimizer_eps: ε in the optimiser's denominator.
            epsilon: Exploration rate, or a list of (lifetime env steps, rate) joined linearly.
            batch_episodes: Replayed episodes per update.
            episodes_per_update: Collected episodes per update.
            updates_per_collection: Updates each time so many episodes are collected; above 1 where
                episodes are long or simulators slow.
            overlap_sampling: Play the next episodes while learning from the last; the policy that
                plays is then one collection's updates old. None: with remote runners only (in
                one process the two compete for the interpreter and gain nothing). Reproducible
                on and off, not equal.
            overlap_updates: Updates made while the next episodes are played, at least 1: so many
                times `episodes_per_update` episodes are collected at a time. More of them cost
                less communication; the policy that plays is at most twice as many updates old.
                None: 4, and 16 with a learner on a GPU, which is several times as fast.
            record_updates: Record updates on a GPU and repeat them, many times as fast. A part of
                your own must not ask the device for numbers then. Elsewhere without effect.
            learning_starts: Episodes collected before the first update.
            target_update_interval: Episodes collected between target-network updates.
            replay_capacity: Episodes kept in the replay.
            checkpoint_replay: Save the replay in checkpoints (needed to resume exactly).
            **kwargs: The barrier's settings (see `BarrierConfig.training`) and RLlib's own (`lr`,
                `gamma`, `grad_clip`, …).

        Returns:
            This updated configuration.
        """
        own = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        inherited = {name: self._checked(name, value) for name, value in kwargs.items()}
        own = {name: value for name, value in own.items() if value is not NotProvided}
        if "preset" in own:
            self._take_row(own.pop("preset"))
        super().training(**inherited)
        for name, value in own.items():
            setattr(self, name, self._checked(name, value))
        return self

    def _checked(self, name: str, value: Any) -> Any:
        """The value, normalised, of a known setting.

        Raises:
            SettingError: If there is no such setting, or the value is not of its type.
        """
        from rllib_dbf.settings import check_setting

        return check_setting(self, name, value.item() if isinstance(value, np.generic) else value)

    @no_type_check  # RLlib checks the arguments
    def environment(self, env: Any = NotProvided, **keywords: Any) -> DBFConfig:
        """As RLlib's, for a name, a path or a class that `rllib_dbf.envs.make_env` takes.

        An environment may suggest settings that suit it (few copies of a slow simulator, a
        smaller replay); they replace what still has its default. What is set afterwards stands.

        Raises:
            UnknownNameError: If there is no such environment.
            ValueError: If a path cannot be imported.
        """
        super().environment(env, **keywords)
        if env is not NotProvided and env is not None:
            suggested = find_env(env).suggested
            usual = DBFConfig(preset=self.preset) if suggested else self
            for name, value in suggested.items():
                if getattr(self, name) == getattr(usual, name):
                    setattr(self, name, value)
        return self

    @no_type_check  # RLlib checks the other arguments
    def debugging(self, **keywords: Any) -> DBFConfig:
        """As RLlib's, but a seed that is no whole number is an error.

        Raises:
            SettingError: If it is none.
        """
        if keywords.get("seed", NotProvided) is not NotProvided:
            keywords["seed"] = self._checked("seed", keywords["seed"])
        return super().debugging(**keywords)

    def _take_row(self, preset: str) -> None:
        row = PRESETS[preset.lower()]
        self.preset = preset.lower()
        for part in _PARTS:
            setattr(self, part, getattr(row, part))
        self.objective_options = {}
        self.n_quantiles = self.n_target_quantiles = row.n_quantiles

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> DBFConfig:
        """As RLlib's, but an unknown or mistyped setting is an error; preset and env come first."""
        rest = dict(config_dict)
        if "preset" in rest:
            self.training(preset=rest.pop("preset"))
        if "env" in rest:
            self.environment(rest.pop("env"))
        if "model_config" in rest:  # a property, which RLlib cannot set
            self.rl_module(model_config=rest.pop("model_config"))
        for name, value in rest.items():
            attribute = self._translate_special_keys(name, warn_deprecated=False)
            rest[name] = self._checked_if_new(attribute, value)
        super().update_from_dict(rest)
        return self

    def _checked_if_new(self, name: str, value: Any) -> Any:
        from rllib_dbf.settings import settings_of

        # RLlib passes whole configurations through here, internal attributes included.
        internal = hasattr(self, name) and name not in settings_of(self)
        if internal or name == TRIAL_INFO or _same(getattr(self, name, NotProvided), value):
            return value
        return self._checked(name, value)

    @property
    def overlaps(self) -> bool:
        """Whether episodes are played while the learner works."""
        return self.num_env_runners > 0 if self.overlap_sampling is None else self.overlap_sampling

    @property
    def updates_at_a_time(self) -> int:
        """For how many updates episodes are collected at a time."""
        if not self.overlaps:
            return 1
        if self.overlap_updates is not None:
            return self.overlap_updates
        return 16 if self.num_gpus_per_learner > 0 else 4

    @property
    def share_taus(self) -> bool:
        """Agents share quantile fractions unless they learn independently."""
        return self.mixer != "independent"

    def validate(self) -> None:
        """Raise ValueError for settings that cannot work, saying what would."""
        # RLlib would warn that this algorithm is new on the new API stack; it never left it.
        log_once(f"{getattr(self.algo_class, '__name__', None)}_on_new_api_stack")
        super().validate()
        from rllib_dbf.validation import validate_row

        validate_row(self)

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The team module with this row's parts."""
        from rllib_dbf.module import TeamRLModule

        return RLModuleSpec(module_class=TeamRLModule)

    def get_default_learner_class(self) -> type:
        """The team learner."""
        from rllib_dbf.learner import TeamLearner

        return TeamLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        names = (
            "head mixer objective objective_options input_layer risk risk_level agent_risk "
            "hidden_dim mixing_embed_dim mixing_hypernet_dim mixing_kernels mixing_kernel_layers "
            "mixing_weighted_heads input_hypernet_dim n_quantiles"
        )
        own = {name: getattr(self, name) for name in names.split()}
        own |= self.safety_model_config
        return super()._model_config_auto_includes | own

    def build_env_to_module_connector(self, *args: Any, **kwargs: Any) -> None:
        """No connectors: the sampler feeds the module directly."""

    def build_module_to_env_connector(self, *args: Any, **kwargs: Any) -> None:
        """No connectors: the sampler feeds the environment directly."""

    def build_learner_connector(self, *args: Any, **kwargs: Any) -> None:
        """No connectors: the learner takes whole `TrainBatch`es."""


def _same(a: Any, b: Any) -> bool:
    """Whether b may replace a without a look at its type: equal scalars, or alike objects."""
    scalar = isinstance(b, str | int | float)
    return type(a) is type(b) and (bool(a == b) if scalar else not isinstance(b, list | tuple))
