"""What assets work with. Nothing here opens a file or a connection before it is asked to."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import dagster as dg

from feature_store.lake import Lake
from fraud.domain.errors import SettingsError
from fraud.domain.fraud_type import FraudType
from fraud.ledger.embedded import ledger_url
from fraud.ledger.pool import ConnectionPool
from fraud.security.encryption import FieldProtection, field_protection
from fraud.settings import Settings
from orchestration.frames import FrameStore
from orchestration.history import history_start, holds_files
from orchestration.reference import ReferenceStore
from orchestration.sources.batch import Source
from orchestration.sources.database import DatabaseSource
from orchestration.sources.files import FileSource
from orchestration.sources.mapping import Mapping, load_mapping
from orchestration.sources.simulated import SIMULATORS

SourceKind = Literal["simulator", "file", "table", "lake"]


class LakeResource(dg.ConfigurableResource[Lake]):
    """The event log, and the training frames built from it."""

    url: str

    def open(self) -> Lake:
        """The event log."""
        return Lake(self.url)

    def frames(self, fraud_type: FraudType) -> FrameStore:
        """The training frame of a fraud type."""
        return FrameStore(f"{self.url}/{fraud_type.name}/frame", fraud_type.schema_hash)

    def references(self, fraud_type: FraudType) -> ReferenceStore:
        """What the champions of a fraud type were taught."""
        return ReferenceStore(f"{self.url}/{fraud_type.name}/references", fraud_type)


class LedgerResource(dg.ConfigurableResource[ConnectionPool]):
    """The system of record in PostgreSQL."""

    settings: dg.ResourceDependency[Settings]

    def url(self) -> str:
        """Its address; the embedded server is started where there is no other."""
        return ledger_url(self.settings)

    def protection(self) -> FieldProtection:
        """What keeps sensitive fields from being read; its keys are made where there are none."""
        return field_protection(self.settings)

    @contextmanager
    def pool(self) -> Iterator[ConnectionPool]:
        """Connections for the duration of a step."""
        pool = ConnectionPool(self.url())
        try:
            yield pool
        finally:
            pool.close()


class MlflowResource(dg.ConfigurableResource[None]):
    """The MLflow server that keeps training runs, champions and reports."""

    tracking_uri: str

    def run_url(self, experiment_id: str, run_id: str) -> str:
        """Where a person can look at a run."""
        return f"{self.tracking_uri}/#/experiments/{experiment_id}/runs/{run_id}"

    def report_url(self, experiment_id: str, run_id: str, file: str) -> str:
        """Where a person can look at a file of a run."""
        return f"{self.run_url(experiment_id, run_id)}/artifacts/{file}"


class SourceResource(dg.ConfigurableResource[Source]):
    """Where transactions and labels come from.

    Attributes:
        kind: `simulator`; `file` (CSV or Parquet: `path`); `table` (`database_url` with
            `table` or `query`); or `lake`, where nothing is fetched: what the service saw is
            added to what `fraud ingest` or others have written.
        path: the file.
        mapping: the YAML that says which of its columns is what.
        database_url: SQLAlchemy URL; better given as `{"env": "NAME"}` than written out.
        table: `name` or `schema.name`.
        query: a SELECT, instead of a table.
    """

    settings: dg.ResourceDependency[Settings]
    kind: SourceKind = "simulator"
    path: str = ""
    mapping: str = ""
    database_url: str = ""
    table: str = ""
    query: str = ""

    def open(self, fraud_type: FraudType, today: dt.date) -> Source | None:
        """The source for a fraud type; None where there is nothing to fetch.

        Raises:
            SettingsError: what its kind needs is not given, there is no simulator, or simulated
                days would replace those of files.
            FraudError: file, mapping or database cannot be used.
        """
        if self.kind == "lake":
            return None
        if self.kind == "simulator":
            make = SIMULATORS.get(fraud_type.name)
            if make is None:
                raise SettingsError(
                    f"There is no simulator of {fraud_type.name}.",
                    remedy="Configure the resource `source` with a file or a table.",
                )
            if holds_files(self.settings, fraud_type):
                raise SettingsError(
                    "The log holds transactions from files; simulated days would replace them.",
                    remedy="Choose the source `lake` (fraud pipeline run --source lake), or give "
                    "a simulated world its own FRAUD_RUN_DIR.",
                )
            return make(self.settings, history_start(self.settings, fraud_type, today))
        mapping = self._mapping(fraud_type)
        if self.kind == "file":
            return FileSource(Path(self.path), mapping)
        return DatabaseSource(self.database_url, mapping, self.table or None, self.query or None)

    def _mapping(self, fraud_type: FraudType) -> Mapping:
        if not self.mapping:
            raise SettingsError(
                f"The source of kind {self.kind} has no mapping.",
                remedy="Give `mapping`, a YAML file like examples/handbook.yaml.",
            )
        return load_mapping(Path(self.mapping), fraud_type.transaction)
