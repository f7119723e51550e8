"""What is not needed to train, and can be added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rllib_dbf.cli.checkups.finding import Finding
from rllib_dbf.cli.checkups.versions import OWN, installed_version, suits, wishes_of


class Extra(NamedTuple):
    """A distribution, and the extra of this package that brings it."""

    distribution: str
    extra: str
    purpose: str
    smaller: str | None = None  # a distribution of the same that will do


EXTRAS = (
    Extra("wandb", "wandb", "runs on Weights & Biases"),
    Extra("tensorboard", "tensorboard", "curves in a browser"),
    Extra("mlflow", "mlflow", "runs in MLflow", smaller="mlflow-skinny"),
    Extra("optuna", "optuna", "search for settings"),
    Extra("imageio-ffmpeg", "video", "films as .mp4"),
)


def check_extras() -> Iterator[Finding]:
    """Present or absent; the distribution counts, because folders are named `wandb`, too."""
    for distribution, extra, purpose, smaller in EXTRAS:
        version = installed_version(distribution) or (smaller and installed_version(smaller))
        remedy = f'pip install "{OWN}[{extra}]"'
        wishes = [w for w in wishes_of(OWN, extra) if w.name in (distribution, smaller)]
        if not version:
            yield Finding(distribution, "absent", f"not installed ({purpose})", remedy)
        elif unmet := [wish for wish in wishes if not suits(version, wish)]:
            detail = f"{version}, but {OWN} asks for {unmet[0].versions}"
            yield Finding(distribution, "warning", detail, remedy)
        else:
            yield Finding(distribution, "ok", f"{version} ({purpose})")
