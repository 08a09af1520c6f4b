"""Telling people: a webhook, Slack or e-mail, whichever the settings name; the log always."""

import logging
import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import httpx

from fraud.settings import Settings

TIMEOUT_S = 10.0

log = logging.getLogger("fraud.notify")


def notify(settings: Settings, subject: str, text: str) -> int:
    """Tell everybody who is to be told; what fails is logged, and nobody waits for it again.

    Args:
        settings: `notify_webhook_url`, `notify_slack_url`, `notify_smtp_url`, `notify_email`.
        subject: one line.
        text: the message.

    Returns:
        How many were told.
    """
    log.warning("%s: %s", subject, text)
    told = 0
    webhook, slack = settings.notify_webhook_url, settings.notify_slack_url
    if webhook is not None:
        told += _posted(webhook.get_secret_value(), {"subject": subject, "text": text})
    if slack is not None:
        told += _posted(slack.get_secret_value(), {"text": f"*{subject}*\n{text}"})
    if settings.notify_smtp_url is not None and settings.notify_email:
        url = settings.notify_smtp_url.get_secret_value()
        told += _mailed(url, settings.notify_email, subject, text)
    return told


def _posted(url: str, body: dict[str, str]) -> bool:
    host = urlsplit(url).hostname
    try:
        httpx.post(url, json=body, timeout=TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:  # its text may hold the URL, which is a secret
        log.error("%s was not told: %s", host, type(error).__name__)
        return False
    return True


def _mailed(url: str, to: str, subject: str, text: str) -> bool:
    parts = urlsplit(url)
    message = EmailMessage()
    message["Subject"], message["To"] = subject, to
    message["From"] = unquote(parts.username or "") or to
    message.set_content(text)
    opened = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    try:
        with opened(parts.hostname or "", parts.port or 0, timeout=TIMEOUT_S) as server:
            if parts.scheme == "smtp+starttls":
                server.starttls()
            if parts.username and parts.password:
                server.login(unquote(parts.username), unquote(parts.password))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        log.error("%s was not told: %s", parts.hostname, error)
        return False
    return True
