"""Weights & Biases, MLflow and TensorBoard: Tune callbacks, made where they are asked for."""

from __future__ import annotations

import importlib.util
import netrc
import os
from typing import Any, NamedTuple
from urllib.parse import urlparse

from rllib_dbf.cli.errors import CommandError, one_line


class Trackers(NamedTuple):
    """Where else results go."""

    wandb_project: str | None = None
    wandb_key: str | None = None
    wandb_run_name: str | None = None
    mlflow_experiment: str | None = None
    mlflow_uri: str | None = None
    tensorboard: bool = True

    def check(self) -> None:
        """Refuse options without what they belong to, and packages that are not there.

        Raises:
            CommandError: With what to add or install.
        """
        if self.wandb_project is None and (self.wandb_key or self.wandb_run_name):
            raise CommandError("--wandb-key and --wandb-run-name need --wandb-project NAME")
        if self.mlflow_experiment is None and self.mlflow_uri:
            raise CommandError("--mlflow-uri needs --mlflow-experiment NAME")
        if self.wandb_project is not None:
            _require("wandb", "--wandb-project")
            if not (self.wandb_key or _has_key() or _wandb_offline()):
                raise CommandError(
                    "--wandb-project needs a key: --wandb-key, WANDB_API_KEY or `wandb login`;"
                    " WANDB_MODE=offline keeps everything here"
                )
        if self.mlflow_experiment is not None:
            _require("mlflow", "--mlflow-experiment")

    def callbacks(self, run: str) -> list[Any]:
        """Tune's callbacks (imports Ray); also switches TensorBoard's off if it is not wanted.

        Args:
            run: The run's name, under which a tracker groups its trials.

        Raises:
            CommandError: If a tracker cannot be reached.
        """
        from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

        found: list[Any] = []
        if not self.tensorboard:
            os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
            found += [CSVLoggerCallback(), JsonLoggerCallback()]
        try:
            found += [*self._wandb(run), *self._mlflow(run)]
        except Exception as error:  # whatever a tracker raises when it is not reached
            raise CommandError(f"tracker: {one_line(error)}") from error
        return found

    def _wandb(self, run: str) -> list[Any]:
        if self.wandb_project is None:
            return []
        from ray.air.integrations.wandb import WandbLoggerCallback

        name = {} if self.wandb_run_name is None else {"name": self.wandb_run_name}
        return [
            WandbLoggerCallback(
                project=self.wandb_project,
                group=run,
                # Ray wants a key even where none is used.
                api_key=self.wandb_key or ("0" * 40 if _wandb_offline() else None),
                log_config=False,
                **name,
            )
        ]

    def _mlflow(self, run: str) -> list[Any]:
        if self.mlflow_experiment is None:
            return []
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return [
            MLflowLoggerCallback(
                tracking_uri=self.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI"),
                experiment_name=self.mlflow_experiment,
                tags={"run": run},
            )
        ]


def _wandb_offline() -> bool:
    return os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled")


def _has_key() -> bool:
    """Whether `wandb login` or the environment has left a key."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(str(host)) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _require(package: str, option: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise CommandError(f'{option} needs a package: pip install "rllib-dbf[{package}]"')
