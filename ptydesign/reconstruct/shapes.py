"""Names of arrays and of their axes; tests check them in every call (jaxtyping). Windows have (ny, nx) pixels, in real
space and on the detector; the object's canvas has (y, x); only axes of one name in one call must have one length."""

from __future__ import annotations

from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

Scalar = Float[Array, ""]
Index = Int[Array, ""] | int
Indices = Int[Array, " slot"]
Weights = Float[Array, " slot"]
Members = Bool[Array, " slot"]  # of the slots of a chunk
Points = Float[Array, "position 2"]  # (y, x) of each

Canvas = Complex[Array, "slice y x"]
AnyCanvas = Inexact[Array, "slice y x"]  # such as an illumination
Patch = Complex[Array, "slice ny nx"]  # a window of the canvas
Modes = Complex[Array, "mode ny nx"]  # a probe, or a wave
Probe = Complex[Array, "*scan mode ny nx"]  # of each scan, where several share the object
Basis = Complex[Array, "varying ny nx"]  # by which a probe's first mode varies
Wave = Complex[Array, "ny nx"]
Propagators = Complex[Array, "step ny nx"]
Lit = Float[Array, "ny nx"]  # such as an intensity
Pattern = Float[Array, "ky kx"]  # on the detector, whose window may be smaller
