"""SMACv2's wrapper: it hands out capabilities, and has no return value where it tries again."""

from tests.envs.sc2_stub import StarCraft2Env, met, note


class CapableStarCraft2Env(StarCraft2Env):
    """SMACv2's: teams are drawn anew in every episode."""

    def __init__(
        self,
        map_name="8m",
        obs_own_pos=False,
        obs_starcraft=True,
        conic_fov=False,
        num_fov_actions=12,
        use_unit_ranges=False,
        min_attack_range=2,
        kill_unit_step_mul=2,
        fully_observable=False,
        capability_config={},  # noqa: B006 (as it is there)
        prob_obs_enemy=1.0,
        action_mask=True,
        **as_in_smac,
    ):
        super().__init__(map_name, **as_in_smac)
        if "team_gen" in capability_config:
            self.n_agents = capability_config["team_gen"]["n_units"]
            self.n_enemies = capability_config["team_gen"]["n_enemies"]
        self.n_actions = 6 + self.n_enemies
        self._size_up()


class StarCraftCapabilityEnvWrapper:
    def __init__(self, **kwargs):
        self.distribution_config = kwargs["capability_config"]
        note("capabilities", config=self.distribution_config)
        for key, config in self.distribution_config.items():
            if key not in ("n_units", "n_enemies"):
                config["env_key"] = key
                config["n_units"] = self.distribution_config["n_units"]
                config["n_enemies"] = self.distribution_config["n_enemies"]
        self.env = CapableStarCraft2Env(**kwargs)

    def reset(self):
        if met("cannot"):
            self.reset()
            return None
        return self.env.reset()

    def __getattr__(self, name):
        if hasattr(self.env, name):
            return getattr(self.env, name)
        raise AttributeError
