"""Checkpoints that survive a kill at any moment and a flipped bit: safetensors and JSON under sha256, no pickle.

A checkpoint is a folder `epoch-0003` that appears by one rename. Its manifest holds the sha256 of its two files; where
they differ, the checkpoint before it is used, so the last two are kept.
"""

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from sugar_search.errors import FileError

__all__ = [
    "Checkpoint",
    "clear",
    "exist",
    "fits",
    "load_latest",
    "load_weights",
    "pack",
    "save",
    "save_weights",
    "unpack",
    "write_atomically",
]

KEPT = 2
DRAFT = ".draft"  # what a killed process may leave behind
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
log = logging.getLogger("sugar_search")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training between two epochs.

    Attributes:
        epoch: finished epochs, at least 1.
        tensors: by name, on the CPU, sharing no memory.
        state: JSON-able values.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def pack(model: nn.Module, optimizer: Optimizer, **extra: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, optimizer and `extra` tensors as named tensors, and what is not a tensor as JSON-able values."""
    named = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    named |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    content = optimizer.state_dict()
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in content["state"].items():
        named |= {f"optimizer/{index}/{key}": value for key, value in entries.items() if isinstance(value, Tensor)}
        scalars[str(index)] = {key: value for key, value in entries.items() if not isinstance(value, Tensor)}
    return _owned(named), {"param_groups": content["param_groups"], "optimizer": scalars}


def unpack(checkpoint: Checkpoint, model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Puts what `pack` took back into `model` and `optimizer`; returns the extra tensors."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "extra": {}}
    for name, tensor in checkpoint.tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    entries: dict[int, dict[str, Any]] = {int(at): dict(old) for at, old in checkpoint.state["optimizer"].items()}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition("/")
        entries[int(index)][key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": checkpoint.state["param_groups"]})
    return parts["extra"]


def fits(checkpoint: Checkpoint, model: nn.Module) -> bool:
    """Whether the weights that `pack` took have the names and shapes of `model`."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items() if name.startswith("model/")}
    return shapes == {f"model/{name}": tensor.shape for name, tensor in model.state_dict().items()}


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `folder/epoch-NNNN` and drops all but the last two.

    Raises:
        FileError: the folder cannot be written; checkpoints written before stay whole.
    """
    final = folder / f"epoch-{checkpoint.epoch:04d}"
    draft = folder / f".{final.name}.{os.getpid()}{DRAFT}"
    files = {TENSORS: save_tensors(checkpoint.tensors), STATE: json.dumps(checkpoint.state).encode()}
    manifest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, content in {**files, MANIFEST: json.dumps(manifest).encode()}.items():
            (draft / name).write_bytes(content)
        if final.exists():  # damaged, or this run would have begun after it
            shutil.rmtree(final)
        draft.rename(final)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise _unwritable(final, error) from error
    for old in _folders(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def exist(folder: Path) -> bool:
    """Whether there are checkpoints, whole or damaged."""
    return bool(_folders(folder))


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose sha256 holds, or None; each one passed over is logged as a warning."""
    for path in reversed(_folders(folder)):
        try:
            files = {name: (path / name).read_bytes() for name in (TENSORS, STATE)}
            manifest = json.loads((path / MANIFEST).read_bytes())
            for name, content in files.items():
                if hashlib.sha256(content).hexdigest() != manifest[name]:
                    raise ValueError(f"sha256 of {name} differs")
            return Checkpoint(int(path.name[6:]), load_tensors(files[TENSORS]), json.loads(files[STATE]))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("checkpoint %s is damaged (%r): the one before it is used", path, error)
    return None


def clear(folder: Path) -> None:
    """Removes all epoch checkpoints and unfinished drafts of `folder`; weights stay."""
    for path in [*_folders(folder), *folder.glob(f".*{DRAFT}")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def save_weights(path: Path, model: nn.Module) -> None:
    """Writes parameters and buffers of `model` to one .safetensors file, atomically.

    Raises:
        FileError: the file cannot be written.
    """
    write_atomically(path, save_tensors(_owned(model.state_dict())))


def load_weights(path: Path, model: nn.Module) -> None:
    """Reads what `save_weights` wrote into `model`.

    Raises:
        FileError: the file is missing, damaged, or of another architecture.
    """
    try:
        model.load_state_dict(load_tensors(path.read_bytes()))
    except OSError as error:
        raise FileError("weights must be readable", str(path), error.strerror or "check the path") from error
    except (SafetensorError, RuntimeError) as error:
        raise FileError("weights must be a .safetensors file of this arch", str(path), "train the run again") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` beside `path` and renames it: a reader sees the old file or the new one.

    Raises:
        FileError: the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError("the results folder must be writable", str(path), error.strerror or "check the disk")


def _owned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors refuses tensors that share memory, as tied weights do."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _folders(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(path for path in folder.glob("epoch-*") if path.name[6:].isdigit())
