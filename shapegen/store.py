"""Reading and writing files that survive a crash: written beside, flushed, then renamed. Safetensors and JSON only."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import CorruptFileError
from shapegen.seal import is_whole, sealed

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


def drop_leftovers(folder: Path) -> None:
    """Remove the half-written files, anywhere below a folder, of processes that are no more."""
    for path in folder.rglob(".*.tmp"):
        owner = path.name.split(".")[-2]
        if not (owner.isdecimal() and _lives(int(owner))):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    if process == os.getpid() or os.name == "nt":  # there, asking ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


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
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{path}: expected JSON ({error}); delete the file to have it made again") from error


def keep_json(path: Path, data: Any) -> Any:
    """Write JSON with its hash, for whoever goes on after a kill; return it as `kept_json` will read it."""
    plain = json.loads(json.dumps(data, sort_keys=True, allow_nan=False))
    write_json(path, {"data": plain, "sha256": sha256_json(plain)})
    return plain


def kept_json(path: Path) -> Any:
    """Read what `keep_json` wrote; None where there is nothing or it is damaged, so that it is made again."""
    try:
        kept = read_json(path)
    except (FileNotFoundError, CorruptFileError):
        return None
    whole = isinstance(kept, dict) and "data" in kept and kept.get("sha256") == sha256_json(kept["data"])
    return kept["data"] if whole else None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write torch tensors as safetensors, with a hash by which reading finds damage; equal data are equal files."""
    from safetensors.torch import save

    data = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, sealed(save(data), metadata))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors as torch tensors on the CPU.

    Raises:
        CorruptFileError: the file is truncated, not safetensors, or not what was written.
    """
    from safetensors.torch import load_file

    found: dict[str, Tensor] = _read(path, load_file)
    return found


def kept_tensors(path: Path) -> dict[str, Tensor] | None:
    """Read what an interrupted loop left; None where there is nothing or it is damaged, so that it is made again."""
    try:
        return read_tensors(path) if is_whole(path, otherwise=False) else None
    except (FileNotFoundError, CorruptFileError):
        return None


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors called `<name>.*` without that beginning: one of several states in one file."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write numpy arrays as `write_tensors` does, without importing torch."""
    import numpy as np
    from safetensors.numpy import save

    data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, sealed(save(data), metadata))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read safetensors as numpy arrays, without importing torch.

    Raises:
        CorruptFileError: the file is truncated, not safetensors, or not what was written.
    """
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray] = _read(path, load_file)
    return found


def is_kept(path: Path, key: str) -> bool:
    """Tell whether a whole safetensors file lies there that was written with `{"key": key}` as its metadata."""
    from safetensors import safe_open

    def told(place: Path) -> str | None:
        with safe_open(place, "numpy") as file:
            return (file.metadata() or {}).get("key")

    try:
        return path.is_file() and _read(path, told) == key
    except CorruptFileError:
        return False


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        whole = is_whole(path)
        found = read(path)
    except (SafetensorError, ValueError) as error:
        raise CorruptFileError(
            f"{path}: not readable as safetensors ({error}); delete it to have it made again"
        ) from error
    if not whole:
        raise CorruptFileError(f"{path}: its content is not what was written; delete it to have it made again")
    return found


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
