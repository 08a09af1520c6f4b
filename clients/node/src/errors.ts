/**
 * The one tree of errors; everything a server says no with is an RFC 9457 problem.
 *
 * FraudClientError
 * +-- NoAnswer              no connection, or no answer in time, at every attempt
 * +-- ProblemError          the server answered, and said no
 *     +-- InvalidRequest    400 404 405 408 413 415 422 431: it would be refused again
 *     +-- Unauthenticated   401: no token, or one that proves nothing, renewed once already
 *     +-- Forbidden         403: the token lacks the scope
 *     +-- Conflict          409: the transaction_id is known with another body
 *     +-- RateLimited       429: at every attempt
 *     +-- Unavailable       502 503 504: at every attempt
 *     +-- ServerError       anything else
 */

import type { Problem } from "./models";

/** Base of all errors of this client. */
export class FraudClientError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The server could not be reached, or did not answer in time. */
export class NoAnswer extends FraudClientError {}

/** What else is known of a refusal. */
export interface Circumstances {
  /** The item of a batch it is about. */
  transactionId?: string | null;
  /** Seconds after which to come back, where the server said so. */
  retryAfterS?: number;
}

/** The server said no. */
export class ProblemError extends FraudClientError {
  readonly problem: Problem;
  readonly transactionId?: string | null;
  readonly retryAfterS?: number;

  constructor(problem: Problem, circumstances: Circumstances = {}) {
    super(`${problem.status} ${problem.title}: ${problem.detail}`);
    this.problem = problem;
    this.transactionId = circumstances.transactionId;
    this.retryAfterS = circumstances.retryAfterS;
  }

  /** The HTTP status. */
  get status(): number {
    return this.problem.status;
  }

  /** The last part of the problem's type, e.g. `invalid-field`. */
  get kind(): string {
    return this.problem.type.split(":").at(-1) ?? "";
  }

  /** What is wrong with which field, and what to do. */
  get errors(): NonNullable<Problem["errors"]> {
    return this.problem.errors ?? [];
  }
}

export class InvalidRequest extends ProblemError {}
export class Unauthenticated extends ProblemError {}
export class Forbidden extends ProblemError {}
export class Conflict extends ProblemError {}
export class RateLimited extends ProblemError {}
export class Unavailable extends ProblemError {}
export class ServerError extends ProblemError {}

const INVALID = [400, 404, 405, 408, 413, 415, 422, 431];
const KINDS = new Map<number, typeof ProblemError>([
  ...INVALID.map((status) => [status, InvalidRequest] as const),
  [401, Unauthenticated],
  [403, Forbidden],
  [409, Conflict],
  [429, RateLimited],
  ...[502, 503, 504].map((status) => [status, Unavailable] as const),
]);

/** The error of an answer that is no success; a body that is no problem came from in between. */
export function problemError(
  status: number,
  body: unknown,
  circumstances: Circumstances = {},
): ProblemError {
  const problem: Problem = isProblem(body)
    ? { ...body, status }
    : {
        type: "about:blank",
        title: "The answer is not a problem object",
        status,
        detail: "Something between the client and the service may have answered.",
      };
  return new (KINDS.get(status) ?? ServerError)(problem, circumstances);
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "type" in body && "detail" in body;
}
