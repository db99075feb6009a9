"""Shared by all tests."""

from __future__ import annotations

import jax

jax.devices()  # JAX starts with one core in each test process, whatever a command in it asks for
