"""Whether JAX computes on an accelerator, and what differs there. JAX is loaded when it is asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


def used() -> bool:
    """Whether JAX computes on an accelerator, which wants much work in each call, rather than on a CPU."""
    import jax

    return jax.default_backend() != "cpu"


def exact() -> AbstractContextManager[None]:
    """In it, matrix products keep single precision: accelerators have units that round their factors to ten bits."""
    import jax

    return jax.default_matmul_precision("highest") if used() else nullcontext()


def kind() -> str:
    """What the device is called: `cpu`, or its maker's name of an accelerator."""
    import jax

    return jax.devices()[0].device_kind if used() else "cpu"
