// Run by tests/clients/test_node.py against a real service; a gateway loses what is lost.
const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { test } = require("node:test");

const {
  Conflict,
  Forbidden,
  FraudClient,
  InvalidRequest,
  NoAnswer,
  RateLimited,
  Unauthenticated,
  Unavailable,
} = require("fraud-client");

const { FRAUD_URL, GATEWAY_URL, FRAUD_TOKEN, EXPIRED_TOKEN, HASTY_TOKEN, NARROW_TOKEN } =
  process.env;
const EVERY_TYPE = JSON.parse(process.env.EVERY_TYPE);
const QUICK = { attempts: 3, baseMs: 10 };

const payment = (fields = {}) => ({
  transaction_id: randomUUID(),
  amount: 12.5,
  user_id: "USER_001",
  merchant_id: "MERCH_001",
  merchant_category: "electronics",
  ...fields,
});
const client = (options = {}) => new FraudClient(FRAUD_URL, { token: FRAUD_TOKEN, ...options });
const behind = (fault, name = randomUUID(), options = {}) =>
  new FraudClient(`${GATEWAY_URL}/${fault}/${name}/`, {
    token: FRAUD_TOKEN,
    retry: QUICK,
    ...options,
  });

test("every fraud type is decided", async () => {
  for (const [fraudType, fields] of Object.entries(EVERY_TYPE)) {
    const body = { fraud_type: fraudType, transaction_id: randomUUID(), ...fields };
    const decision = await client().predict(body);
    assert.equal(decision.model_version, `${fraudType}-1`);
  }
});

test("a batch gives each item its decision or its error", async () => {
  const items = [payment(), payment({ amount: -1 }), payment()];
  const [first, refused, last] = await client().batchPredict(items);
  assert.equal(first.transaction_id, items[0].transaction_id);
  assert.equal(last.transaction_id, items[2].transaction_id);
  assert.ok(refused instanceof InvalidRequest);
  assert.equal(refused.transactionId, items[1].transaction_id);
  assert.equal(refused.kind, "invalid-field");
  assert.equal(refused.errors[0].field, "amount");
});

test("labels are told once, though an answer is lost", async () => {
  const body = payment();
  await client().predict(body);
  const label = { transaction_id: body.transaction_id, is_fraud: true, source: "chargeback" };
  const [told] = await behind("lost").labels([label]);
  assert.equal(told.status, "repeated");
});

test("health needs no token", async () => {
  const health = await new FraudClient(FRAUD_URL).health();
  assert.deepEqual(Object.keys(health.champions).sort(), Object.keys(EVERY_TYPE).sort());
});

test("every refusal has its error", async () => {
  const known = payment();
  await client().predict(known);
  const conflict = await client().predict({ ...known, amount: 99 }).catch((error) => error);
  assert.ok(conflict instanceof Conflict);
  assert.equal(conflict.errors[0].field, "transaction_id");
  await assert.rejects(client().predict(payment({ merchant_id: null })), InvalidRequest);
  await assert.rejects(new FraudClient(FRAUD_URL).predict(payment()), Unauthenticated);
  await assert.rejects(client({ token: NARROW_TOKEN }).predict(payment()), Forbidden);
});

test("a lost answer is asked for again", async () => {
  assert.equal((await behind("lost").predict(payment())).replayed, true);
});

test("a late answer is asked for again", async () => {
  const decision = await behind("late", undefined, { timeoutMs: 500 }).predict(payment());
  assert.equal(decision.replayed, true);
});

test("a 503 is waited for as long as it says", async () => {
  const beganMs = performance.now();
  const decision = await behind("away").predict(payment());
  assert.ok(performance.now() - beganMs >= 1000);
  assert.equal(decision.replayed, false);
});

test("a 429 is waited for", async () => {
  const hasty = client({ token: HASTY_TOKEN, retry: { attempts: 1 } });
  const askWithoutEnd = async () => {
    for (;;) {
      await hasty.predict(payment());
    }
  };
  const limited = await askWithoutEnd().catch((error) => error);
  assert.ok(limited instanceof RateLimited);
  assert.equal(limited.retryAfterS, 1);
  assert.ok((await client({ token: HASTY_TOKEN }).predict(payment())).decision_id);
});

test("who is sent away for long is told at once", async () => {
  const banned = await behind("banned").predict(payment()).catch((error) => error);
  assert.ok(banned instanceof RateLimited);
  assert.equal(banned.retryAfterS, 3600);
});

test("what is no problem object is an error too", async () => {
  const broken = await behind("broken").predict(payment()).catch((error) => error);
  assert.ok(broken instanceof Unavailable);
  assert.equal(broken.problem.type, "about:blank");
});

test("nobody there is no answer", async () => {
  const nobody = new FraudClient(process.env.NOBODY_URL, { token: "t", retry: QUICK });
  const error = await nobody.predict(payment()).catch((each) => each);
  assert.ok(error instanceof NoAnswer);
  assert.match(error.message, /ECONNREFUSED/);
});

test("a refused token is renewed once, for all who wait", async () => {
  let count = 0;
  const token = async () => (count++ === 0 ? EXPIRED_TOKEN : FRAUD_TOKEN);
  const shared = client({ token });
  await Promise.all(Array.from({ length: 10 }, () => shared.predict(payment())));
  assert.equal(count, 2);
  let given = 0;
  const late = client({ token: () => (given++, EXPIRED_TOKEN) });
  await assert.rejects(late.predict(payment()), Unauthenticated);
  assert.equal(given, 2);
});

test("a function that fetches no token is asked again by the next call", async () => {
  let count = 0;
  const token = () => {
    if (count++ === 0) {
      throw new Error("the issuer is away");
    }
    return FRAUD_TOKEN;
  };
  const patient = client({ token });
  await assert.rejects(patient.predict(payment()), /the issuer is away/);
  assert.ok((await patient.predict(payment())).decision_id);
});

test("both module systems find the same client", async () => {
  assert.equal((await import("fraud-client")).FraudClient, FraudClient);
});
