"""The configuration for several GPUs, as accelerate reads it. It is not run here."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip("accelerate")

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

FILE = Path(__file__).parents[3] / "deploy" / "accelerate-zero2.yaml"


def test_accelerate_takes_every_key() -> None:
    config = load_config_from_file(str(FILE))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == DistributedType.DEEPSPEED
    assert (config.deepspeed_config["zero_stage"], config.mixed_precision, config.num_machines) == (2, "bf16", 1)
    options = {action.dest for action in launch_command_parser()._actions}
    assert set(yaml.safe_load(FILE.read_text())["deepspeed_config"]) <= options


def test_the_command_in_its_comment_starts_the_job() -> None:
    command = next(line for line in FILE.read_text().splitlines() if "accelerate launch" in line).removeprefix("#").split()
    arguments = launch_command_parser().parse_args(command[2:])
    assert (arguments.config_file, arguments.num_processes) == ("deploy/accelerate-zero2.yaml", 4)
    assert (arguments.module, arguments.training_script, arguments.training_script_args) == (True, "jobs.train_adapter", ["RUN_DIR"])
