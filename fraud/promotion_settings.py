"""The settings of promotion; part of `fraud.settings.Settings`."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator
from pydantic_settings import BaseSettings


class PromotionSettings(BaseSettings):
    """How models get into service.

    Attributes:
        gates_file: limits a model must keep; mlflow/gates.yaml unless given.
        promotion: `staged` lets a new model pass shadow and canary, `now` makes it champion.
        two_person_approval: whether a second person must agree before a model answers.
    """

    gates_file: Path | None = None
    promotion: Literal["staged", "now"] = "staged"
    two_person_approval: bool = False

    @field_validator("gates_file")
    @classmethod
    def _absolute_gates(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()
