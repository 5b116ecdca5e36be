"""What is compiled is kept from one process to the next."""

import os
import subprocess
import sys

COMPILE = """
import sys, jax
from experiments.training import devices
from experiments.data.datasets import load
from experiments.training.cell import Settings
from experiments.training.runner import Run, Runner
from experiments.training.strategies import TRAINED
devices.use_compilation_cache()
if jax.config.jax_compilation_cache_dir is None:
    sys.exit("no cache")
settings = Settings(hidden=3, epochs=1, batches_per_epoch=1, batch=4)
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append("cache_hits" in event))
runner = Runner(load("irradiance"), "bottleneck", settings, [TRAINED["clip"]])
print(sum(hits), runner.run([Run("clip", {}, 1e-3, 0)])[0].metrics["mse"])
"""


def compile_with_cache_in(folder):
    environment = os.environ | {"XDG_CACHE_HOME": str(folder)}
    for name in [name for name in environment if name.startswith("JAX_")]:  # the tests' own
        del environment[name]
    return subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )


def test_what_was_compiled_is_kept_for_the_next_sweep_and_gives_the_same_numbers(tmp_path):
    first, second = (compile_with_cache_in(tmp_path).stdout.split() for _ in range(2))
    assert first[0] == "0"
    assert int(second[0]) >= 2
    assert first[1] == second[1]


def test_a_cache_folder_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    assert compile_with_cache_in(tmp_path / "file").stderr.strip().endswith("no cache")
