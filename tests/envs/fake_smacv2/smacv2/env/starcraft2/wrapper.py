"""SMACv2's wrapper: it hands out capabilities, and has no return value where it tries again."""

from tests.envs.sc2_stub import CapableStarCraft2Env, met, note


class StarCraftCapabilityEnvWrapper:
    def __init__(self, **kwargs):
        self.distribution_config = kwargs["capability_config"]
        for key, config in self.distribution_config.items():
            if key not in ("n_units", "n_enemies"):
                config["env_key"] = key
                config["n_units"] = self.distribution_config["n_units"]
                config["n_enemies"] = self.distribution_config["n_enemies"]
        note("capabilities", config=self.distribution_config)
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
