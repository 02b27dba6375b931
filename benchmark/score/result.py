"""What every result of this package is: a frozen record without unknown fields and without NaN."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """Strict on names, immutable, and JSON as it stands: null where nothing can be said."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
