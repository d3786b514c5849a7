"""Reading and writing files that survive a crash: written beside, flushed, then renamed. Safetensors and JSON only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import CorruptFileError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that at any moment either the old or the new content is there, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old content is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON with sorted keys, so that equal data are equal files. NaN is refused (ValueError)."""
    write_bytes(path, (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        CorruptFileError: the file is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFileError(f"{path}: expected JSON ({error}); delete the file to have it made again") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write torch tensors as safetensors."""
    from safetensors.torch import save

    data = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(data, dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors as torch tensors on the CPU.

    Raises:
        CorruptFileError: the file is truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors called `<name>.*` without that beginning: one of several states in one file."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write numpy arrays as safetensors, without importing torch."""
    import numpy as np
    from safetensors.numpy import save

    data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, save(data, dict(metadata) if metadata else None))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read safetensors as numpy arrays, without importing torch.

    Raises:
        CorruptFileError: the file is truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CorruptFileError:
    return CorruptFileError(f"{path}: not readable as safetensors ({error}); delete it to have it made again")


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(data: Any) -> str:
    """Return the hexadecimal SHA-256 of data as canonical JSON; the key of a stage."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def derived_seed(seed: int, *names: str | int) -> int:
    """Derive an independent 63-bit seed for one purpose (a stage, a step, an item) from the run's seed.

    Each step of a loop seeds its own generator with this, so that a resumed loop needs no generator state and
    gives the numbers of an uninterrupted one.
    """
    return int(sha256_json([seed, *names])[:16], 16) >> 1
