"""A real vLLM for tests: one for the session, or the one that CSQA_TEST_VLLM=http://host:port names (it must see this machine's files)."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from csqa_loop.local.base_model import prepare
from csqa_loop.local.vllm import vllm_command, vllm_environment, vllm_python
from csqa_loop.settings import ModelServerSettings, Settings
from tests.brokers import free_port

ROOT = Path(__file__).parent.parent
_READY_SECONDS = 240.0


@dataclass(frozen=True)
class Vllm:
    """Where it listens, and what it was started from."""

    url: str
    settings: Settings
    pid: int | None = None
    """None where somebody else runs it."""


def why_no_vllm() -> str:
    """The reason why there is none on this machine; empty where there is one."""
    if os.environ.get("CSQA_TEST_VLLM") or (ROOT / ".venv-vllm" / "bin" / "python").exists() or os.environ.get("CSQA_MODEL_SERVER__PYTHON"):
        return ""
    return "no vLLM: neither .venv-vllm (`make setup`) nor CSQA_TEST_VLLM=http://host:port"


def start(folder: Path) -> tuple[Vllm, subprocess.Popen[bytes] | None]:
    """A vLLM that answers, and its process; its log is `folder/vllm.log`."""
    named = os.environ.get("CSQA_TEST_VLLM")
    if named:
        return Vllm(named.rstrip("/"), Settings(var=ROOT / "var", model_server=ModelServerSettings(urls=(named,)))), None
    port = free_port()
    python = os.environ.get("CSQA_MODEL_SERVER__PYTHON", str(ROOT / ".venv-vllm" / "bin" / "python"))
    settings = Settings(var=ROOT / "var", model_server=ModelServerSettings(embedded_port=port, python=python))
    prepare(settings)
    with (folder / "vllm.log").open("wb") as log:
        process = subprocess.Popen(
            vllm_command(settings, vllm_python(settings)),
            env=vllm_environment(settings, os.environ),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Vllm(f"http://127.0.0.1:{port}", settings, process.pid)
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/health", timeout=2.0, trust_env=False).status_code == 200:
                return server, process
        except httpx.HTTPError:
            time.sleep(0.5)
    stop(process)
    tail = (folder / "vllm.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"vLLM did not become healthy within {_READY_SECONDS:g} s:\n{tail}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it and everything it started."""
    for number, patience in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 20.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def write_adapter(folder: Path, model: Path, *, seed: int, scale: float = 0.5) -> Path:
    """A LoRA on the first layer's queries and values that visibly changes what the model says (`scale` 0: it changes nothing)."""
    config = json.loads((model / "config.json").read_text())
    hidden, head = config["hidden_size"], config["hidden_size"] // config["num_attention_heads"]
    outputs = {"q_proj": hidden, "v_proj": head * config["num_key_value_heads"]}
    random = np.random.default_rng(seed)
    rank = 8
    tensors = {}
    for name, width in outputs.items():
        path = f"base_model.model.model.layers.0.self_attn.{name}"
        tensors[f"{path}.lora_A.weight"] = random.normal(0, 0.2, (rank, hidden)).astype(np.float32)
        tensors[f"{path}.lora_B.weight"] = random.normal(0, scale, (width, rank)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": str(model),
                "r": rank,
                "lora_alpha": 16,
                "lora_dropout": 0.0,
                "bias": "none",
                "target_modules": sorted(outputs),
            }
        )
    )
    return folder
