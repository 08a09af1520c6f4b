"""Settings of monitoring: who is told, whom the capacity report asks, and what things cost.

Part of `fraud.settings`, which says how they are read.
"""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

Cost = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MonitoringSettings(BaseSettings):
    """Settings of reports and notifications.

    Attributes:
        prometheus_url: the Prometheus that the capacity report asks; nobody if empty.
        cost_per_hour: of all machines together, for the capacity report, in your currency.
        cost_per_gb_month: of a gigabyte stored for a month, likewise.
        notify_webhook_url: where `{"subject", "text"}` is posted to when people should know.
        notify_slack_url: a Slack webhook that is told the same.
        notify_smtp_url: smtp://, smtps:// or smtp+starttls://USER:PASSWORD@HOST:PORT.
        notify_email: who is written to through it.
    """

    prometheus_url: str = ""
    cost_per_hour: Cost = 0.0
    cost_per_gb_month: Cost = 0.0
    notify_webhook_url: SecretStr | None = None
    notify_slack_url: SecretStr | None = None
    notify_smtp_url: SecretStr | None = None
    notify_email: str = ""
