"""The options of `rllib train`, by group, as types of its arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from rllib_dbf.cli import completion as complete
from rllib_dbf.cli.errors import CommandError

Option = typer.Option


def path_of(what: str) -> Callable[[str], Path]:
    """Reads a path; refuses the empty text that an unset variable of the shell leaves."""

    def read(text: str) -> Path:
        if not text.strip():
            raise CommandError(f"{what} is empty; is a variable of the shell unset?")
        try:
            Path(text).exists()
        except OSError as error:  # a name that is too long
            raise CommandError(f"{what} {text!r} is no path ({error.strerror})") from error
        return Path(text)

    return read


def _in(panel: str, *names: str, **rest) -> typer.models.OptionInfo:
    return Option(*names, rich_help_panel=panel, **rest)


WHAT = "What to train"
SETTINGS = "Settings"
STOPPING = "When to stop"
TUNING = "Trials and search"
SAVING = "What is kept"
RAY = "Ray and its resources"
TRACKING = "Trackers"

# Arguments -------------------------------------------------------------------------------------
# One argument; the commands have `allow_extra_args` for `train file FILE`, as it was once written.
File = Annotated[str | None, typer.Argument(metavar="CONFIG.yaml|.py", help="Experiment file.")]

# What ------------------------------------------------------------------------------------------
Algo = Annotated[
    str | None,
    _in(
        WHAT,
        *("--algo", "--run", "-a", "-r"),
        help="Algorithm.  [default: DBF]",
        autocompletion=complete.algorithms,
    ),
]
Env = Annotated[
    str | None,
    _in(
        WHAT,
        *("--env", "-e"),
        help="Environment or module:Class.  [default: smax/3m]",
        autocompletion=complete.environments,
    ),
]

# Settings --------------------------------------------------------------------------------------
Config = Annotated[
    str | None, _in(SETTINGS, "--config", "-c", metavar="JSON", help="Settings as a mapping.")
]
Sets = Annotated[
    list[str] | None,
    _in(
        SETTINGS,
        "--set",
        metavar="KEY=VALUE",
        help="One setting, as gamma_b=0.5; repeatable.",
        autocompletion=complete.assignments,
    ),
]
Seed = Annotated[int | None, _in(SETTINGS, min=0, help="Seed of everything drawn.")]
NumEnvRunners = Annotated[int | None, _in(SETTINGS, min=0, help="Sampling processes.")]
NumEnvs = Annotated[int | None, _in(SETTINGS, min=1, help="Environments in each.")]
NumLearners = Annotated[int | None, _in(SETTINGS, min=0, help="Learner processes (0: this one).")]
CpusPerLearner = Annotated[float | None, _in(SETTINGS, min=0, help="CPUs of each learner.")]
GpusPerLearner = Annotated[float | None, _in(SETTINGS, min=0, help="GPUs of each learner.")]
EvaluationInterval = Annotated[
    int | None, _in(SETTINGS, min=0, help="Evaluate every N iterations (0: never).")
]
EvaluationDuration = Annotated[
    str | None, _in(SETTINGS, metavar="N|auto", help="How much an evaluation plays.")
]
EvaluationUnit = Annotated[
    Literal["episodes", "timesteps"] | None,
    _in(SETTINGS, help="What --evaluation-duration counts."),
]
EvaluationRunners = Annotated[
    int | None, _in(SETTINGS, min=0, help="Processes that evaluate (0: the trial's own).")
]
EvaluationParallel = Annotated[
    bool | None, _in(SETTINGS, "--evaluation-parallel-to-training", help="Evaluate while training.")
]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARN", "ERROR"] | None, _in(SETTINGS, help="RLlib's log level.")
]

# Stopping --------------------------------------------------------------------------------------
Stop = Annotated[
    str | None, _in(STOPPING, "--stop", "-s", metavar="JSON", help="Limits by result key.")
]
StopSteps = Annotated[int | None, _in(STOPPING, min=1, help="Stop at N env steps.")]
StopIters = Annotated[int | None, _in(STOPPING, min=1, help="Stop at N iterations.")]
StopReward = Annotated[float | None, _in(STOPPING, help="Stop at this mean return.")]
AsTest = Annotated[
    bool, _in(STOPPING, "--as-test", help="Exit 3 if --stop-reward is never reached.")
]

# Trials ----------------------------------------------------------------------------------------
NumSamples = Annotated[int | None, _in(TUNING, min=1, help="Repetitions.")]
Sweeps = Annotated[
    list[str] | None,
    _in(
        TUNING,
        "--sweep",
        metavar="KEY=VALUES",
        help="Several values: gamma_b=0.4,0.5 or lr=loguniform(1e-4,1e-2), also uniform, choice,"
        " randint …; repeatable, lists are combined.",
        autocompletion=complete.assignments,
    ),
]
Metric = Annotated[
    str | None,
    _in(TUNING, help="Result key by which trials compare.  [default: the mean return]"),
]
Mode = Annotated[Literal["max", "min"], _in(TUNING, help="Whether more of it is better.")]
MaxConcurrent = Annotated[int | None, _in(TUNING, min=1, help="Trials at a time.")]
SchedulerName = Annotated[
    str | None,
    _in(
        TUNING,
        "--scheduler",
        help="Ends poor trials early: asha, median, hyperband; or changes settings: pbt.",
        autocompletion=complete.schedulers,
    ),
]
SchedulerConfig = Annotated[str | None, _in(TUNING, metavar="JSON", help="Its arguments.")]
SearcherName = Annotated[
    str | None,
    _in(
        TUNING,
        "--search",
        help="Chooses the values: random (default), optuna, or another searcher of Ray's.",
        autocompletion=complete.searchers,
    ),
]
SearcherConfig = Annotated[
    str | None, _in(TUNING, "--search-config", metavar="JSON", help="Its arguments.")
]
NoTune = Annotated[
    bool, _in(TUNING, "--no-tune", help="One trial in this very process, for a debugger.")
]

# Saving ----------------------------------------------------------------------------------------
StoragePath = Annotated[
    str | None,
    _in(SAVING, metavar="DIR|URI", help="Where runs are kept.  [default: results]"),
]
Name = Annotated[
    str | None,
    _in(SAVING, "--experiment-name", "-n", help="The run's directory.  [default: with the time]"),
]
CheckpointFreq = Annotated[
    int | None,
    _in(SAVING, min=0, help="Checkpoint every N iterations (0: never).  [default: 10]"),
]
CheckpointAtEnd = Annotated[bool | None, _in(SAVING, help="Checkpoint at the end.")]
KeepCheckpoints = Annotated[
    int | None,
    _in(
        SAVING,
        "--keep-checkpoints-num",
        min=1,
        help="Checkpoints kept.  [default: 2; with pbt all]",
    ),
]
CheckpointScore = Annotated[
    str | None,
    _in(
        SAVING,
        "--checkpoint-score-attr",
        metavar="[min-]KEY",
        help="Keep the best by this result key, not the latest.",
    ),
]
Restore = Annotated[
    Path | None,
    _in(SAVING, parser=path_of("--restore"), metavar="PATH", help="Start from this checkpoint."),
]
Resume = Annotated[
    bool, _in(SAVING, "--resume", help="Go on with the run of this name, if there is one.")
]

# Ray -------------------------------------------------------------------------------------------
RayAddress = Annotated[
    str | None,
    _in(RAY, help="Cluster to join; auto: this machine's.  [default: $RAY_ADDRESS, else none]"),
]
RayCpus = Annotated[int | None, _in(RAY, "--ray-num-cpus", min=1, help="CPUs of a Ray of its own.")]
RayGpus = Annotated[int | None, _in(RAY, "--ray-num-gpus", min=0, help="GPUs of it.")]
RayMemory = Annotated[
    int | None, _in(RAY, "--ray-object-store-memory", min=78_643_200, help="Bytes for objects.")
]

# Trackers --------------------------------------------------------------------------------------
WandbProject = Annotated[str | None, _in(TRACKING, help="Log to this Weights & Biases project.")]
WandbKey = Annotated[
    str | None, _in(TRACKING, help="Its API key.  [default: $WANDB_API_KEY, else `wandb login`]")
]
WandbRunName = Annotated[str | None, _in(TRACKING, help="The run's name there.")]
MlflowExperiment = Annotated[str | None, _in(TRACKING, help="Log to this MLflow experiment.")]
MlflowUri = Annotated[
    str | None, _in(TRACKING, help="Its server.  [default: $MLFLOW_TRACKING_URI]")
]
Tensorboard = Annotated[bool, _in(TRACKING, help="Write TensorBoard's event files.")]

# Display ---------------------------------------------------------------------------------------
DryRun = Annotated[
    bool, Option("--dry-run", help="Print every value with its origin; train nothing.")
]
Display = Annotated[
    Literal["rich", "plain", "json", "none"] | None,
    Option("--progress", help="Display.  [default: rich on a terminal, else plain]"),
]
Traceback = Annotated[bool, Option("--traceback", help="Show more of an error.")]
Verbose = Annotated[int, Option("--verbose", "-v", count=True, help="More of Ray's log.")]
