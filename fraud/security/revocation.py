"""Tokens taken back before they expire: one by its `jti`, or all that a subject was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Revocations:
    """What was revoked, as one value that is replaced as a whole.

    Attributes:
        tokens: the `jti` of each revoked token.
        subjects: when a subject's tokens were revoked, seconds since 1970; later ones are good.
    """

    tokens: frozenset[str] = frozenset()
    subjects: Mapping[str, float] = field(default_factory=dict)

    def cover(self, subject: str, token_id: str | None, issued_s: float | None) -> bool:
        """Whether a token is revoked.

        `iat` counts whole seconds: a token of the second of the revocation is revoked as well,
        and so is one that does not say when it was issued.
        """
        if token_id is not None and token_id in self.tokens:
            return True
        revoked_s = self.subjects.get(subject)
        return revoked_s is not None and (issued_s is None or issued_s <= revoked_s)
