"""Several cores of a CPU for one reconstruction.

XLA transforms one wave on one core. So each core becomes a device of JAX's that holds the whole state, works on its
share of a group's positions, and takes the same update from the sum over all cores. Patterns are not copied: all
devices read the same memory.

JAX counts its devices when it starts: call `use_cores` before. The jobs of a study don't: they run side by side, one
core each, and their results must not depend on how many there are (as sums depend on their order).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ptydesign import accelerator

AXIS = "core"


def use_cores(number: int | None = None) -> int:
    """Let reconstructions on the CPU use so many cores (default: all that this process may use).

    Returns how many they are: if JAX has started already, as many as before.
    """
    with suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", number or available())
    return len(jax.devices("cpu"))


def available() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number() -> int | None:
    """How many cores share the work: results depend on it in their last bits. None on an accelerator."""
    if accelerator.used():
        return None
    over = mesh()
    return 1 if over is None else over.size


def mesh() -> Mesh | None:
    """The cores that share the work; None for one, and on an accelerator."""
    if accelerator.used() or len(jax.devices()) == 1:
        return None
    return Mesh(np.asarray(jax.devices()), (AXIS,))


def on_all(run: Callable[..., Any], over: Mesh | None) -> Callable[..., Any]:
    """A function that all cores call with the same arguments and that gives the same on all of them."""
    if over is None:
        return run
    return jax.shard_map(run, mesh=over, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False)


def placed(tree: Any, over: Mesh | None) -> Any:
    """Arrays on each of the cores, or on the first device alone."""
    return jax.device_put(tree, NamedSharding(over, PartitionSpec()) if over is not None else jax.devices()[0])


def shared(array: np.ndarray, over: Mesh | None) -> jax.Array:
    """A large array that nothing writes to any more: on a CPU that memory itself, for all cores; on an accelerator a
    copy, which may still be under way."""
    array = aligned(array)
    if over is None:
        return jax.device_put(array, jax.devices()[0], may_alias=True)
    parts = [jax.device_put(array, device, may_alias=True) for device in over.devices.flat]
    return jax.make_array_from_single_device_arrays(array.shape, NamedSharding(over, PartitionSpec()), parts)


def aligned(array: np.ndarray) -> np.ndarray:
    """The array at an address that XLA takes as it is, a multiple of 64 bytes; copied if need be."""
    if array.ctypes.data % 64 == 0 and array.flags.c_contiguous:
        return array
    copy = zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def zeros(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Zeros at such an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def shares() -> int:
    """How many cores share the work where this is traced."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[AXIS] if AXIS in mesh.manual_axes else 1


def share() -> jax.Array | int:
    """Which of the shares is this core's."""
    return jax.lax.axis_index(AXIS) if shares() > 1 else 0


def add(sums: Any) -> Any:
    """The sum over all cores of each core's sums."""
    return jax.lax.psum(sums, AXIS) if shares() > 1 else sums
