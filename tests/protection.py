"""Keys for tests that keep sensitive fields: one set per run, in a folder of its own."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fraud.domain.event import sensitive_fields
from fraud.security.data_keys import DataKeys
from fraud.security.encryption import FieldProtection
from fraud.types.registry import fraud_types

LOOK_UP_KEY = b"k" * 32


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fraud-keys-"))
    atexit.register(shutil.rmtree, folder)
    return folder


@cache
def a_protection() -> FieldProtection:
    return protection_with(_folder())


def given_keys(folder: Path) -> dict[str, Path]:
    """Variables that make a program use the keys of `a_protection`; a file goes into the folder."""
    file = folder / "look-up-key"
    file.write_bytes(LOOK_UP_KEY)
    file.chmod(0o600)
    return {"FRAUD_ENCRYPTION_KEYS_DIR": _folder(), "FRAUD_LOOK_UP_KEY_FILE": file}


def protection_with(folder: Path, look_up_key: bytes = LOOK_UP_KEY) -> FieldProtection:
    sensitive = {name: sensitive_fields(each.transaction) for name, each in fraud_types().items()}
    return FieldProtection(DataKeys(folder, makes_first=True), look_up_key, sensitive)
