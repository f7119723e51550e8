"""A stand-in for oxwhirl's StarCraft2Env: its signature and its ways of failing, without the game.

What goes wrong is written into a folder, named by the environment variable SC2_STUB: a file
`crash@0.3` makes the game die in step 3 of a battle's episode 0, once: whoever meets the file
removes it (but `never` starts no game, and `noise` makes battles differ). What happens is noted in
`log.jsonl` there. A process that sleeps stands for the game.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
from absl import flags
from pysc2.lib.protocol import ProtocolError
from pysc2.lib.remote_controller import ConnectError

from tests.envs.sc2_fight import MAPS, Fight

FOLDER = "SC2_STUB"


def met(fault):
    """Whether this fault was asked for; it happens once."""
    with contextlib.suppress(FileNotFoundError):
        Path(os.environ[FOLDER], fault).unlink()
        return True
    return False


def note(event, **facts):
    with Path(os.environ[FOLDER], "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n")


class StarCraft2Env:
    """SMAC's environment as its users see it."""

    def __init__(
        self,
        map_name="8m",
        step_mul=8,
        move_amount=2,
        difficulty="7",
        game_version=None,
        seed=None,
        continuing_episode=False,
        obs_all_health=True,
        obs_own_health=True,
        obs_last_action=False,
        obs_pathing_grid=False,
        obs_terrain_height=False,
        obs_instead_of_state=False,
        obs_timestep_number=False,
        state_last_action=True,
        state_timestep_number=False,
        reward_sparse=False,
        reward_only_positive=True,
        reward_death_value=10,
        reward_win=200,
        reward_defeat=0,
        reward_negative_scale=0.5,
        reward_scale=True,
        reward_scale_rate=20,
        replay_dir="",
        replay_prefix="",
        window_size_x=1920,
        window_size_y=1200,
        heuristic_ai=False,
        heuristic_rest=False,
        debug=False,
    ):
        self.map_name = map_name
        self.n_agents, self.n_enemies, self.episode_limit, self._medivac = MAPS[map_name]
        self.n_actions = 6 + self.n_enemies
        self.continuing_episode, self.state_last_action = continuing_episode, state_last_action
        self.reward_death_value, self.reward_win = reward_death_value, reward_win
        self.reward_scale, self.reward_scale_rate = reward_scale, reward_scale_rate
        self.replay_dir, self.replay_prefix = replay_dir, replay_prefix
        self._seed, self._sc2_proc = seed, None
        self._episode_count = self._episode_steps = self.force_restarts = 0
        self.battles_won = self.battles_game = 0
        self._fight = Fight(0, 0)
        self.agents, self.enemies = {}, {}
        self._size_up()
        note("made", seed=seed, continuing=continuing_episode, map=map_name, level=difficulty)

    def _size_up(self):
        self.max_reward = self.n_enemies * self.reward_death_value + self.reward_win
        self._clear()

    def _clear(self):
        self.death_tracker_ally = np.zeros(self.n_agents)
        self.death_tracker_enemy = np.zeros(self.n_enemies)
        self.last_action = np.zeros((self.n_agents, self.n_actions))

    def _launch(self):
        if met("missing"):
            raise FileNotFoundError("/nowhere/StarCraftII/Versions")
        if (
            Path(os.environ[FOLDER], "never").exists()
            or met("launch.1")
            or met("launch.2")
            or met("launch.3")
        ):
            raise ConnectError("Failed to connect to the SC2 websocket. Is it up?")
        self._sc2_proc = subprocess.Popen(["sleep", "600"])
        note("launched", game=self._sc2_proc.pid, timeout=flags.FLAGS.sc2_timeout)

    def reset(self):
        self._episode_steps = 0
        if self._episode_count == 0:
            self._launch()
        self._clear()
        self.full_restart() if met(f"reset@{self._episode_count}") else self._init_units()
        note("started", max_reward=self.max_reward, episode=self._episode_count)
        return self.get_obs(), self.get_state()

    def _init_units(self):
        noisy = Path(os.environ[FOLDER], "noise").exists()
        noise = self._seed * 1000 + self._episode_count if noisy else None
        self._fight = Fight(self.n_agents, self.n_enemies, self._medivac, noise)
        self.agents, self.enemies = self._fight.agents, self._fight.enemies
        rounds = 2 if met("late") else 1
        if self._episode_count == 0:
            for unit in self.enemies.values():
                self.max_reward += rounds * (unit.health_max + unit.shield_max)

    def full_restart(self):
        self.close()
        self._launch()
        self.force_restarts += 1

    def step(self, actions):
        assert isinstance(actions, list) and all(type(action) is int for action in actions)
        note("step", actions=actions, avail=self.get_avail_actions())
        for agent, action in enumerate(actions):
            assert self.get_avail_agent_actions(agent)[action] == 1, (
                f"Agent {agent} cannot perform action {action}"
            )
        self.last_action = np.eye(self.n_actions)[actions]
        try:
            self._run(actions)
        except ProtocolError:
            self.full_restart()
            return 0, True, {}
        self._episode_steps += 1
        return self._judge()

    def _run(self, actions):
        self._before = copy.deepcopy((self.agents, self.enemies))
        now = f"@{self._episode_count}.{self._episode_steps}"
        if met(f"hang{now}"):
            time.sleep(600)
        if met(f"die{now}"):
            os._exit(3)
        if met(f"silent{now}"):
            time.sleep(flags.FLAGS.sc2_timeout)
            raise ProtocolError("timed out")
        if met(f"crash{now}"):
            raise ProtocolError("Error in RPC response")
        self._fight.play(actions)
        if met(f"draw{now}"):
            for unit in [*self.agents.values(), *self.enemies.values()]:
                unit.health = 0.0
        if met(f"revive{now}"):
            next(unit for unit in self.agents.values() if not unit.health).health = 10.0

    def _judge(self):
        reward, code = self._reward(), self._fight.end()
        info = {
            "battle_won": False,
            "dead_allies": sum(unit.health == 0 for unit in self.agents.values()),
            "dead_enemies": sum(unit.health == 0 for unit in self.enemies.values()),
        }
        terminated = code is not None
        if code == 1:
            info["battle_won"] = True
            self.battles_won += 1
            reward += self.reward_win
        elif code is None and self._episode_steps >= self.episode_limit:
            terminated = True
            if self.continuing_episode:
                info["episode_limit"] = True
        self.battles_game += terminated
        self._episode_count += terminated
        if self.reward_scale:
            reward /= self.max_reward / self.reward_scale_rate
        note("judged", dead=int(self.death_tracker_ally.sum()), said=info["dead_allies"])
        return reward, terminated, info

    def _reward(self):
        reward = 0.0
        for i, unit in self.agents.items():
            self.death_tracker_ally[i] = self.death_tracker_ally[i] or unit.health == 0
        for j, unit in self.enemies.items():
            reward += self._before[1][j].health - unit.health
            if unit.health == 0 and not self.death_tracker_enemy[j]:
                self.death_tracker_enemy[j] = 1
                reward += self.reward_death_value
        return reward

    def get_obs(self):
        return [self._fight.obs(i) for i in range(self.n_agents)]

    def get_state(self):
        state = self._fight.state()
        return np.append(state, self.last_action.ravel()) if self.state_last_action else state

    def get_avail_agent_actions(self, agent_id):
        return self._fight.avail(agent_id)

    def get_avail_actions(self):
        return [self.get_avail_agent_actions(i) for i in range(self.n_agents)]

    def get_env_info(self):
        n, m, a = self.n_agents, self.n_enemies, self.n_actions
        return {
            "state_shape": 4 * n + 3 * m + (n * a if self.state_last_action else 0),
            "obs_shape": 4 + 5 * m + 5 * (n - 1) + 1,
            "n_actions": a,
            "n_agents": n,
            "episode_limit": self.episode_limit,
            "agent_features": ["health", "energy/cooldown", "rel_x", "rel_y"],
            "enemy_features": ["health", "rel_x", "rel_y"],
        }

    def get_stats(self):
        return {"win_rate": self.battles_won / self.battles_game, "restarts": self.force_restarts}

    def seed(self):
        return self._seed

    def save_replay(self):
        name = f"{self.replay_prefix or self.map_name}_{time.strftime('%H-%M-%S')}.SC2Replay"
        Path(self.replay_dir).mkdir(parents=True, exist_ok=True)
        Path(self.replay_dir, name).write_text("a replay")

    def close(self):
        if self._sc2_proc:
            self._sc2_proc.kill()
            self._sc2_proc.wait()
            self._sc2_proc = None
            note("closed")
