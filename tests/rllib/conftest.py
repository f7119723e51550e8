"""A small local Ray for the tests in this folder, started once."""

import os

import pytest
import ray

import rllib_dbf.registration


@pytest.fixture(scope="session", autouse=True)
def local_ray():
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    rllib_dbf.registration.register()
    yield
    ray.shutdown()
