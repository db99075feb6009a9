"""The type checker of jaxtyping's import hook: beartype, for which an int is a float, too."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
