"""The model card: what an auditor, an analyst or the next engineer asks about a model."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bentos.scoring.manifest import Manifest
from fraud.domain.fraud_type import FraudType
from orchestration.training.train import TrainedCandidate
from orchestration.training.verdict import Verdict

TEMPLATE = Path(__file__).parents[2] / "mlflow" / "model_card.md.j2"

SHOWN_FEATURES = 15


def model_card(
    candidate: TrainedCandidate,
    manifest: Manifest,
    fraud_type: FraudType,
    candidates: Sequence[TrainedCandidate],
    verdict: Verdict,
    template: Path = TEMPLATE,
) -> str:
    """The card of a candidate, Markdown.

    Args:
        candidate: the one it is about.
        manifest: of that candidate.
        fraud_type: it was trained for.
        candidates: all that were compared, in the order shown.
        verdict: how the champion was chosen.
        template: Jinja template.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
        autoescape=False,
    )
    top = sorted(candidate.importances.items(), key=lambda item: item[1], reverse=True)
    spans = manifest.data_window
    return environment.get_template(template.name).render(
        candidates=candidates,
        descriptions={feature.name: feature.description for feature in fraud_type.features},
        fraud_type=fraud_type,
        importances=top[:SHOWN_FEATURES],
        manifest=manifest,
        metrics=candidate.metrics["test"],
        params=candidate.params,
        report=candidate.report,
        title=candidate.title,
        verdict=verdict,
        windows=[("train", spans.train), ("validation", spans.validation), ("test", spans.test)],
    )
