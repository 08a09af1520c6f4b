"""Judges of the past: the model, rules, lists and policy that a decision was made with."""

from dataclasses import dataclass, replace
from pathlib import Path

from bentos.scoring.bundle import read_signed_bundle
from bentos.scoring.fallback import NO_MODEL
from bentos.scoring.judge import Judge
from bentos.scoring.model import ScoringModel
from bentos.scoring.ruleset import CompiledRuleset
from fraud.domain.errors import BundleError, FraudError, NotFound
from fraud.domain.features import Feature
from fraud.domain.fraud_type import FraudType
from fraud.domain.policy import PassThrough, Thresholds
from fraud.domain.reasons import NO_HISTORY_REASON, NO_MODEL_REASON
from fraud.domain.ruleset import Ruleset, built_in
from fraud.ledger.deployments import deployment_of
from fraud.ledger.models import feature_names
from fraud.ledger.policies import policy
from fraud.ledger.recorded import RecordedDecision
from fraud.ledger.rulesets import load_ruleset
from fraud.ledger.statement import Cursor
from fraud.types.registry import fraud_type

Policy = tuple[Thresholds | None, PassThrough | None]


@dataclass(frozen=True)
class BygoneFeature(Feature):
    """A feature that the running code does not have any more."""

    bygone_name: str = ""

    @property
    def name(self) -> str:
        """As it was called."""
        return self.bygone_name


class PastJudges:
    """Finds what decided; ask for decisions sorted by `versions_of`, so that little is read twice.

    Args:
        cursor: of a transaction on the ledger.
        bundle_dir: folder of the bundles that deployments name.
        verify_key_pem: the key whose signature on bundles is trusted.
    """

    def __init__(self, cursor: Cursor, bundle_dir: Path, verify_key_pem: bytes) -> None:
        self._cursor = cursor
        self._bundle_dir = bundle_dir
        self._verify_key_pem = verify_key_pem
        self._models: dict[tuple[str, str], ScoringModel | FraudError] = {}
        self._types: dict[tuple[str, str], FraudType] = {}
        self._policies: dict[tuple[str, str], Policy] = {}
        self._rulesets: dict[tuple[str, str], CompiledRuleset] = {}

    def judge(self, recorded: RecordedDecision) -> Judge:
        """Who would decide as at that time.

        Raises:
            NotFound: no such model was ever deployed, or nothing says which features it had.
            BundleError: its bundle is gone or was altered.
        """
        kind = self.kind(recorded)
        name = recorded.decision.model_version
        model = None if name == NO_MODEL else self._model(kind, name)
        if model is not None and model.manifest.schema_hash != recorded.schema_hash:
            raise BundleError(
                f"Model {name} has feature schema {model.manifest.schema_hash}, its decision "
                f"{recorded.schema_hash}."
            )
        lack = NO_HISTORY_REASON if recorded.was_journalled else NO_MODEL_REASON
        return Judge(kind, model, self._ruleset(kind, recorded), lack)

    def kind(self, recorded: RecordedDecision) -> FraudType:
        """The fraud type of a decision, with the features it had then.

        Raises:
            NotFound: nothing says which features those were.
            BundleError: only the model's bundle could say, and it is gone or was altered.
        """
        kind = fraud_type(recorded.event.fraud_type)
        if kind.schema_hash == recorded.schema_hash:
            return kind
        key = kind.name, recorded.schema_hash
        if key not in self._types:
            self._types[key] = self._bygone(kind, recorded)
        return self._types[key]

    def _bygone(self, kind: FraudType, recorded: RecordedDecision) -> FraudType:
        names = feature_names(self._cursor, recorded.schema_hash)
        if names is None and recorded.decision.model_version != NO_MODEL:
            model = self._model(kind, recorded.decision.model_version)
            names = list(model.manifest.feature_names)
        if names is None or len(names) * 8 != len(recorded.feature_values):
            raise NotFound(f"Nothing says which features schema {recorded.schema_hash} had.")
        ours = dict(zip(kind.feature_names, kind.features, strict=True))
        features = (ours.get(name) or BygoneFeature(bygone_name=name) for name in names)
        return replace(kind, features=tuple(features), rules=())

    def _model(self, kind: FraudType, version: str) -> ScoringModel:
        key = kind.name, version
        if key not in self._models:
            try:
                self._models[key] = self._loaded(kind, version)
            except FraudError as error:
                self._models[key] = error
        found = self._models[key]
        if isinstance(found, FraudError):
            raise found
        return found

    def _loaded(self, kind: FraudType, version: str) -> ScoringModel:
        deployment = deployment_of(self._cursor, kind.name, version)
        if deployment is None:
            raise NotFound(f"The ledger knows no deployment of model {version}.")
        folder = self._bundle_dir / deployment.bundle_path
        if not folder.is_dir():
            raise BundleError(
                f"The bundle of model {version} is gone: there is no folder {folder}.",
                remedy="Restore it from a backup; bundles of former champions must be kept.",
            )
        bundle = read_signed_bundle(folder, self._verify_key_pem)
        if bundle.digest != deployment.bundle_digest:
            raise BundleError(
                f"{folder} holds another bundle than the one that was promoted.",
                remedy="Restore the promoted one.",
            )
        return ScoringModel(bundle)

    def _ruleset(self, kind: FraudType, recorded: RecordedDecision) -> CompiledRuleset:
        decision = recorded.decision
        last = self._rulesets.get((kind.name, recorded.schema_hash))
        ruleset = load_ruleset(
            self._cursor,
            kind.name,
            rules_version=decision.rules_version,
            lists_version=decision.lists_version,
            known=None if last is None else last.ruleset,
        )
        thresholds, pass_through = self._policy(kind.name, decision.policy_version)
        ruleset = replace(ruleset, thresholds=thresholds, pass_through=pass_through)
        if not decision.rules_version:
            ruleset = _with_built_in_rules(ruleset)
        rules = last.rules if last is not None and last.rules.fits(ruleset) else None
        compiled = CompiledRuleset(kind, ruleset, rules)
        self._rulesets[kind.name, recorded.schema_hash] = compiled
        return compiled

    def _policy(self, kind: str, version: str) -> Policy:
        """A policy by its name; nothing where thresholds came with a model or the fraud type."""
        if (kind, version) not in self._policies:
            try:
                found = policy(self._cursor, kind, version)
            except NotFound:
                self._policies[kind, version] = None, None
            else:
                self._policies[kind, version] = found.thresholds, found.pass_through
        return self._policies[kind, version]


def versions_of(recorded: RecordedDecision) -> tuple[str, str, int, int, int]:
    """A key that brings decisions together which were made by the same versions."""
    each = recorded.decision
    kind = recorded.event.fraud_type
    return kind, recorded.schema_hash, each.rules_version, each.lists_version, recorded.number


def _with_built_in_rules(ruleset: Ruleset) -> Ruleset:
    """Before the ledger was first seen, the rules that come with the code decided."""
    return replace(ruleset, rules=built_in(fraud_type(ruleset.fraud_type)).rules)
