"""The sink MongoDB: one document per transaction, with what was decided about it.

The collection is the one of the integration guide, validator and indexes included. A document
carries the number of the message it came from, and only a message with a higher number
replaces it. Times have the milliseconds of BSON; `amount_minor` is exact.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from bson.errors import BSONError
from bson.int64 import Int64
from pymongo import DeleteOne, IndexModel, InsertOne, MongoClient, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
)

from fraud.domain.errors import SinkUnavailable
from fraud.ledger.deliveries import Message, Refusal, StoredTransaction
from fraud.ledger.outbox import ERASURES_TOPIC, RESULTS_TOPIC

Document = dict[str, Any]
Operation = InsertOne[Document] | UpdateOne | DeleteOne

TRANSACTIONS = "transactions"

VALIDATOR = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["transaction_id", "timestamp", "amount", "user_id"],
        "properties": {
            "transaction_id": {"bsonType": "string"},
            "timestamp": {"bsonType": "date"},
            "amount": {"bsonType": "double"},
            "user_id": {"bsonType": "string"},
            "fraud_probability": {"bsonType": "double"},
            "risk_level": {"bsonType": "string"},
        },
    }
}
"""To the letter what the integration guide asks for in 3.2."""

INDEXES = (
    IndexModel([("transaction_id", 1)], unique=True),
    IndexModel([("timestamp", 1)]),
    IndexModel([("user_id", 1)]),
    IndexModel([("fraud_probability", 1)]),
)

BATCH_SIZE = 1_000
TIMEOUT_MS = 10_000

DUPLICATE_KEY = 11000
TOO_LARGE = 10334
_REFUSED_CODES = {
    2: "BadValue",
    121: "DocumentValidationFailure",
    TOO_LARGE: "BSONObjectTooLarge",
    17280: "KeyTooLong",
    17419: "ResultingDocumentTooLarge",
}
"""Write errors that the same document meets again; see MongoDB's error codes."""


class MongoSink:
    """Writes decisions into the collection `transactions` of a database, and erases them.

    Args:
        url: of the server or replica set, `mongodb://...`.
        database: its name.
        login: user name and password, where the URL holds none.
    """

    name = "mongodb"
    needs_transactions = True
    batch_size = BATCH_SIZE

    def __init__(self, url: str, database: str, login: tuple[str, str] | None = None) -> None:
        username, password = login or (None, None)
        self._client: MongoClient[Document] = MongoClient(
            url,
            username=username,
            password=password,
            appname="fraud relay",
            w="majority",
            wtimeoutms=TIMEOUT_MS,
            retryWrites=True,
            connect=False,
            serverSelectionTimeoutMS=TIMEOUT_MS // 5,
            connectTimeoutMS=TIMEOUT_MS // 2,
            socketTimeoutMS=3 * TIMEOUT_MS,
        )
        self._database = self._client[database]
        self._transactions: Collection[Document] = self._database[TRANSACTIONS]

    def prepare(self) -> None:
        """Make the collection with its validator and indexes, or bring it to them."""
        try:
            try:
                self._database.create_collection(TRANSACTIONS, validator=VALIDATOR)
            except CollectionInvalid:
                self._correct_validator()
            self._transactions.create_indexes(list(INDEXES))
        except PyMongoError as error:
            raise _unavailable(error) from error

    def deliver(self, messages: Sequence[Message]) -> list[Refusal]:
        latest: dict[str, _Write] = {}
        refusals = []
        for message in messages:
            try:
                latest |= {each.transaction_id: each for each in _writes(message)}
            except (KeyError, TypeError, ValueError) as error:
                refusals.append(Refusal(message, f"{type(error).__name__}: {error}"))
        refused, known = self._write(list(latest.values()), _Write.first)
        refused_later, _ = self._write(known, _Write.again)
        return refusals + refused + refused_later

    def close(self) -> None:
        self._client.close()

    def _correct_validator(self) -> None:
        [found] = self._database.list_collections(filter={"name": TRANSACTIONS})
        if found["options"].get("validator") != VALIDATOR:
            self._database.command("collMod", TRANSACTIONS, validator=VALIDATOR)

    def _write(
        self, work: Sequence["_Write"], how: Callable[["_Write"], Operation]
    ) -> tuple[list[Refusal], list["_Write"]]:
        """Write about different transactions, in any order.

        Returns:
            What was refused for good, and what has a document already.
        """
        if not work:
            return [], []
        try:
            self._transactions.bulk_write([how(each) for each in work], ordered=False)
        except BulkWriteError as error:
            return _sorted_out(error, work)
        except (BSONError, OverflowError, PyMongoError) as error:
            if not _is_about_one_document(error):
                raise _unavailable(error) from error
            if len(work) == 1:
                return [Refusal(work[0].message, f"{type(error).__name__}: {error}")], []
            middle = len(work) // 2  # one of them cannot even be sent: find it
            some, others = self._write(work[:middle], how), self._write(work[middle:], how)
            return some[0] + others[0], some[1] + others[1]
        return [], []


@dataclass(frozen=True, slots=True)
class _Write:
    """What a message means for one transaction; no document where it was erased."""

    message: Message
    transaction_id: str
    document: Document | None

    def first(self) -> Operation:
        """As nearly always: there is no document yet. Several times as fast as an upsert."""
        if self.document is None:
            return DeleteOne({"transaction_id": self.transaction_id})
        return InsertOne(self.document)

    def again(self) -> Operation:
        """Where there is one: it stays if it is newer, and keeps its _id if it is not."""
        new = {"$mergeObjects": [{"$literal": self.document}, {"_id": "$_id"}]}
        is_newer = {"$gt": ["$message_id", self.message.outbox_id]}
        latest = {"$replaceWith": {"$cond": [is_newer, "$$ROOT", new]}}
        return UpdateOne({"transaction_id": self.transaction_id}, [latest], upsert=True)


def document(message: Message, transaction: StoredTransaction) -> Document:
    """The document of a decision and the transaction it is about."""
    decision = orjson.loads(message.payload)
    fields: Document = orjson.loads(transaction.fields)
    user_id = fields.get("user_id")
    if transaction.sealed is not None:
        fields["sealed"] = transaction.sealed
    return fields | {
        "transaction_id": decision["transaction_id"],
        "timestamp": transaction.event_time,
        "amount": transaction.amount_minor / 100,
        "amount_minor": Int64(transaction.amount_minor),
        "user_id": message.key if user_id is None else user_id,
        "fraud_type": decision["fraud_type"],
        "fraud_probability": float(decision["fraud_probability"]),
        "risk_level": decision["risk_level"],
        "recommended_action": decision["recommended_action"],
        "reasons": decision["reasons"],
        "rules": decision["rules"],
        "decision_id": decision["decision_id"],
        "model_version": decision["model_version"],
        "policy_version": decision["policy_version"],
        "degraded": decision["degraded"],
        "scored_at": dt.datetime.fromisoformat(decision["scored_at"]),
        "message_id": Int64(message.outbox_id),
    }


def _writes(message: Message) -> Iterator[_Write]:
    """What a message means here.

    Raises:
        ValueError: it cannot be written.
        KeyError: it lacks something.
        TypeError: something in it is of another kind than it should be.
    """
    if message.topic == ERASURES_TOPIC:
        for each in orjson.loads(message.payload)["transaction_ids"]:
            yield _Write(message, each, None)
    elif message.topic == RESULTS_TOPIC:
        if message.transaction is None:
            raise ValueError("the ledger no longer has the transaction")
        new = document(message, message.transaction)
        yield _Write(message, new["transaction_id"], new)


def _is_about_one_document(error: Exception) -> bool:
    """Whether a whole batch failed because of what one of its documents is."""
    if isinstance(error, OperationFailure):
        return error.code == TOO_LARGE
    return not isinstance(error, PyMongoError) or isinstance(error, DocumentTooLarge)


def _sorted_out(
    error: BulkWriteError, work: Sequence[_Write]
) -> tuple[list[Refusal], list[_Write]]:
    details: Mapping[str, Any] = error.details or {}
    failures = details.get("writeErrors", [])
    expected = {*_REFUSED_CODES, DUPLICATE_KEY}
    others = [each for each in failures if each["code"] not in expected]
    if others or details.get("writeConcernErrors") or not failures:
        raise _unavailable(error) from error
    known = [work[each["index"]] for each in failures if each["code"] == DUPLICATE_KEY]
    refusals = [
        Refusal(work[each["index"]].message, f"{_REFUSED_CODES[each['code']]}: {_reason(each)}")
        for each in failures
        if each["code"] != DUPLICATE_KEY
    ]
    return refusals, known


def _reason(failure: Mapping[str, Any]) -> str:
    return f"{failure['errmsg']} {failure.get('errInfo', {}).get('details', '')}".strip()[:1_000]


def _unavailable(error: Exception) -> SinkUnavailable:
    reason = str(error).partition(", Timeout:")[0]
    if isinstance(error, OperationFailure) and error.details:
        reason = str(error.details.get("errmsg") or reason)
    return SinkUnavailable(
        f"MongoDB does not take messages: {reason[:500].rstrip('.')}.",
        remedy="Check that it runs, has a primary, and that FRAUD_MONGODB_URL is right.",
    )
