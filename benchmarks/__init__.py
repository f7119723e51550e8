"""The benchmark suite: `./run bench` measures everything, `./run bench --list` says what."""
