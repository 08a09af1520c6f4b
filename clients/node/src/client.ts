import { setTimeout as pause } from "node:timers/promises";

import { NoAnswer, ProblemError, problemError } from "./errors";
import type {
  Decision,
  Health,
  ItemProblem,
  LabelSent,
  LabelsTold,
  LabelTold,
  Transaction,
} from "./models";
import { pauseMs, RETRY, type Retry, retryAfterS } from "./retry";

/** A bearer token, or a function that fetches one. */
export type Token = string | (() => string | Promise<string>);

export interface Options {
  /** A function is called at the first request, and once more when its token is refused. */
  token?: Token;
  /** Of each attempt; 10,000 unless given. */
  timeoutMs?: number;
  retry?: Partial<Retry>;
  /** Another way to send, e.g. one with your certificates; the global `fetch` unless given. */
  fetch?: typeof fetch;
}

/** A request, but for its token. */
interface Call {
  method: "GET" | "POST";
  path: string;
  body?: unknown;
  isOpen?: boolean;
  accepted?: number[];
  attempts?: number;
}

/** Client of the fraud platform; one is enough for a process. */
export class FraudClient {
  readonly #baseUrl: string;
  readonly #token: Token | undefined;
  readonly #timeoutMs: number;
  readonly #retry: Retry;
  readonly #fetch: typeof fetch;
  #current: Promise<string> | undefined;

  /** @param baseUrl e.g. `https://fraud.example.com`; a path before the routes is kept. */
  constructor(baseUrl: string, options: Options = {}) {
    this.#baseUrl = new URL(baseUrl).href.replace(/\/+$/, "");
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#retry = { ...RETRY, ...options.retry };
    this.#fetch = options.fetch ?? fetch;
  }

  /** Decides on one transaction. Throws a `ProblemError` or `NoAnswer`. */
  async predict(transaction: Transaction): Promise<Decision> {
    return this.#answer<Decision>({ method: "POST", path: "/predict", body: transaction });
  }

  /** Decides on up to 1,000 transactions; each gets its decision or its own error, in order. */
  async batchPredict(transactions: Transaction[]): Promise<(Decision | ProblemError)[]> {
    const call: Call = { method: "POST", path: "/batch-predict", body: { transactions } };
    const found = await this.#answer<{ predictions: (Decision | ItemProblem)[] }>(call);
    return found.predictions.map((item) =>
      "error" in item
        ? problemError(item.error.status, item.error, { transactionId: item.transaction_id })
        : item,
    );
  }

  /** Tells up to 1,000 verdicts; each has its own fate. Without `reported_at` it is now. */
  async labels(labels: LabelSent[], fraudType = "credit_card"): Promise<LabelTold[]> {
    // The server takes a verdict without a time as new each time it arrives.
    const now = new Date().toISOString();
    const told = labels.map((label) => ({ ...label, reported_at: label.reported_at ?? now }));
    const path = `/labels?${new URLSearchParams({ fraud_type: fraudType })}`;
    const found = await this.#answer<LabelsTold>({ method: "POST", path, body: { labels: told } });
    return found.labels;
  }

  /** Whether predictions can be answered; asked once, and `unavailable` is an answer too. */
  async health(): Promise<Health> {
    const once = { isOpen: true, accepted: [200, 503], attempts: 1 };
    return this.#answer<Health>({ method: "GET", path: "/health", ...once });
  }

  async #answer<Result>(call: Call): Promise<Result> {
    const retry = { ...this.#retry, attempts: call.attempts ?? this.#retry.attempts };
    const content = call.body === undefined ? undefined : JSON.stringify(call.body);
    let token = call.isOpen ? undefined : await this.#fetched();
    let mayRenew = !call.isOpen;
    for (let attempt = 1; ; attempt++) {
      const [response, body, cause] = await this.#sent(call, content, token);
      if (response && (call.accepted ?? [200]).includes(response.status) && isObject(body)) {
        return body as Result;
      }
      if (response?.status === 401 && mayRenew && typeof this.#token === "function") {
        mayRenew = false;
        token = await this.#fetched(token);
        attempt--;
        continue;
      }
      const waitMs = pauseMs(retry, attempt, response);
      if (waitMs === undefined) {
        throw response
          ? problemError(response.status, body, { retryAfterS: retryAfterS(response) })
          : new NoAnswer(`No answer: ${describe(cause)}`, { cause });
      }
      await pause(waitMs);
    }
  }

  /** One attempt: the response and its parsed body, or why there is none. */
  async #sent(
    call: Call,
    content: string | undefined,
    token: string | undefined,
  ): Promise<[Response, unknown] | [undefined, undefined, unknown]> {
    const headers: Record<string, string> = {};
    if (token !== undefined) {
      headers["authorization"] = `Bearer ${token}`;
    }
    if (content !== undefined) {
      headers["content-type"] = "application/json";
    }
    try {
      const response = await this.#fetch(this.#baseUrl + call.path, {
        method: call.method,
        headers,
        body: content,
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      return [response, parsed(await response.text())];
    } catch (cause) {
      return [undefined, undefined, cause];
    }
  }

  /** The token, or another one than the refused one; calls that wait for it share it. */
  async #fetched(refused?: string): Promise<string | undefined> {
    const token = this.#token;
    if (typeof token !== "function") {
      return token;
    }
    const current = this.#current;
    if (current === undefined || (refused !== undefined && (await current) === refused)) {
      if (this.#current === current) {
        const fetched = Promise.resolve().then(token);
        fetched.catch(() => (this.#current = undefined));
        this.#current = fetched;
      }
    }
    return this.#current;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(body: unknown): boolean {
  return typeof body === "object" && body !== null;
}

function describe(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error ? `${inner.name} ${inner.message}`.trim() : String(inner);
}
