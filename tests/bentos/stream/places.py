"""Where sinks deliver to, as their receivers see it: Kafka, MongoDB and an HTTP server."""

import base64
import json
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition
from pymongo import MongoClient
from standardwebhooks import Webhook

from bentos.stream.endpoints import read_endpoints
from bentos.stream.kafka_client import make_topics
from bentos.stream.sink import Sink
from bentos.stream.sinks.kafka import KafkaSink
from bentos.stream.sinks.mongodb import MongoSink
from bentos.stream.sinks.webhooks import WebhookSink
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC
from fraud.run.kafka.broker import Broker
from fraud.run.mongod import Mongod
from fraud.settings import load_settings
from tests.bentos.stream.builders import execute, wait_for

TOO_LARGE = 2_000_000
"""Bytes; Kafka's clients and brokers take 1 MB unless they are told otherwise."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message as it arrived."""

    message_id: int
    transaction_id: str


class Place(Protocol):
    """A receiver, and what can be wrong with it."""

    name: str
    environment: dict[str, str]

    def sink(self, stop: threading.Event) -> Sink:
        """A sink that delivers here."""

    def told(self) -> list[Told]:
        """Decisions that arrived so far, in their order; erased ones may be missing."""

    def erasures(self) -> list[str]:
        """Transactions whose erasure arrived."""

    def spoil(self, url: str, transaction_id: str) -> None:
        """Make it refuse the message about a transaction for good."""

    def mend(self, url: str, transaction_id: str) -> None:
        """Make it take that message after all."""

    def go(self) -> None:
        """Be away."""

    def come_back(self) -> None:
        """Be there again."""


class KafkaPlace:
    """The topics of a real broker."""

    name = "kafka"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.environment = {"FRAUD_RELAY_SINKS": "kafka", "FRAUD_KAFKA_SERVERS": broker.address}
        config = {"bootstrap.servers": broker.address}
        make_topics(config, (RESULTS_TOPIC, ERASURES_TOPIC))
        self._consumer = Consumer({**config, "group.id": "none", "enable.auto.commit": "false"})
        self._consumer.assign(wait_for(self._ends, "leaders of the partitions"))
        self._told: list[Told] = []
        self._erased: list[str] = []

    def sink(self, stop: threading.Event) -> Sink:
        return KafkaSink(load_settings(kafka_servers=self._broker.address), stop)

    def told(self) -> list[Told]:
        for message in self._consumer.consume(10_000, timeout=0.2):
            if message.error() is not None:
                continue
            payload = json.loads(message.value())
            headers = dict(message.headers())
            if message.topic() == ERASURES_TOPIC:
                self._erased += payload["transaction_ids"]
            else:
                number = int(headers["message_id"])
                self._told.append(Told(number, payload["transaction_id"]))
        return list(self._told)

    def erasures(self) -> list[str]:
        self.told()
        return self._erased

    def spoil(self, url: str, transaction_id: str) -> None:
        execute(
            url,
            "UPDATE outbox SET payload = payload || jsonb_build_object('padding', repeat('x', %s))"
            " WHERE payload->>'transaction_id' = %s",
            TOO_LARGE,
            transaction_id,
        )

    def mend(self, url: str, transaction_id: str) -> None:
        execute(
            url,
            "UPDATE outbox SET payload = payload - 'padding' WHERE payload->>'transaction_id' = %s",
            transaction_id,
        )

    def go(self) -> None:
        self._broker.kill()

    def come_back(self) -> None:
        self._broker.start()

    def close(self) -> None:
        self._consumer.close()

    def _ends(self) -> list[TopicPartition]:
        """Where the topics end now; nothing while a new one has no leaders yet."""
        ends = []
        with suppress(KafkaException):
            for topic in (RESULTS_TOPIC, ERASURES_TOPIC):
                for partition in self._consumer.list_topics(topic).topics[topic].partitions:
                    place = TopicPartition(topic, partition)
                    _, place.offset = self._consumer.get_watermark_offsets(place)
                    ends.append(place)
            return ends
        return []


class MongoPlace:
    """A database of a real server."""

    name = "mongodb"

    def __init__(self, server: Mongod, database: str) -> None:
        self._server = server
        self._database = database
        self.environment = {
            "FRAUD_RELAY_SINKS": "mongodb",
            "FRAUD_MONGODB_URL": server.url,
            "FRAUD_MONGODB_DATABASE": database,
        }
        self._client: MongoClient[dict[str, Any]] = MongoClient(server.url, tz_aware=True)
        self._seen: set[str] = set()
        self.transactions = self._client[database]["transactions"]

    def sink(self, stop: threading.Event) -> Sink:
        return MongoSink(self._server.url, self._database)

    def told(self) -> list[Told]:
        found = [
            Told(each["message_id"], each["transaction_id"])
            for each in self.transactions.find({}, ["message_id", "transaction_id"])
        ]
        self._seen |= {each.transaction_id for each in found}
        return sorted(found, key=lambda each: each.message_id)

    def erasures(self) -> list[str]:
        return sorted(self._seen - {each.transaction_id for each in self.told()})

    def spoil(self, url: str, transaction_id: str) -> None:
        self._set_user(url, transaction_id, "5")  # the validator wants a string

    def mend(self, url: str, transaction_id: str) -> None:
        self._set_user(url, transaction_id, '"user-1"')

    def go(self) -> None:
        self._server.kill()

    def come_back(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._client.close()

    def _set_user(self, url: str, transaction_id: str, user: str) -> None:
        execute(
            url,
            "UPDATE transactions"
            " SET fields = jsonb_set(fields, '{user_id}', %s::jsonb) WHERE transaction_id = %s",
            user,
            transaction_id,
        )


@dataclass
class WebhookPlace:
    """A real HTTP server that verifies signatures as any receiver would."""

    folder: Path
    name: str = "webhook:partner"
    refused: set[str] = field(default_factory=set)
    trouble: Callable[[], tuple[int, dict[str, str]] | None] = lambda: None

    def __post_init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        (self.folder / "secret").write_text(self.secret)
        self.requests: list[dict[str, Any]] = []
        self._connections: set[socket.socket] = set()
        self._listen(0)
        self._write_file()
        self.environment = {
            "FRAUD_RELAY_SINKS": "webhooks",
            "FRAUD_WEBHOOKS_FILE": str(self.folder / "webhooks.yaml"),
        }

    def sink(self, stop: threading.Event) -> Sink:
        [endpoint] = read_endpoints(self.folder / "webhooks.yaml")
        return WebhookSink(endpoint, stop)

    def told(self) -> list[Told]:
        return [
            Told(each["message_id"], each["data"]["transaction_id"])
            for each in self.requests
            if each["type"] == "decision.made"
        ]

    def erasures(self) -> list[str]:
        return [
            transaction_id
            for each in self.requests
            if each["type"] == "transactions.erased"
            for transaction_id in each["data"]["transaction_ids"]
        ]

    def spoil(self, url: str, transaction_id: str) -> None:
        self.refused.add(transaction_id)

    def mend(self, url: str, transaction_id: str) -> None:
        self.refused.discard(transaction_id)

    def go(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):  # the threads that answer would live on
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        self._listen(self.port)

    def close(self) -> None:
        self.go()

    def _write_file(self) -> None:
        (self.folder / "webhooks.yaml").write_text(
            f"""
            endpoints:
              - name: partner
                url: http://127.0.0.1:{self.port}/fraud
                secret_file: secret
                first_pause_s: 0.02
                longest_pause_s: 1
                attempts: 30
            """
        )

    def _listen(self, port: int) -> None:
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                place._connections.add(self.connection)

            def finish(self) -> None:
                place._connections.discard(self.connection)
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers = place.answer(body, dict(self.headers))
                self.send_response(status)
                for name, value in {**headers, "content-length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        """Status and headers for a request."""
        message = Webhook(self.secret).verify(body, headers)
        if (trouble := self.trouble()) is not None:
            return trouble
        if message["data"].get("transaction_id") in self.refused:
            return 422, {}
        lower = {name.lower(): value for name, value in headers.items()}
        number = int(lower["webhook-id"].removeprefix("msg_"))
        self.requests.append(message | {"message_id": number})
        return 204, {}
