/** Statuses after which the same request may succeed; 502 and 504 come from gateways. */
const RETRIED = new Set([429, 502, 503, 504]);

/**
 * How often and when to try again.
 *
 * Every call is safe to repeat: the server knows transactions by their `transaction_id` and
 * labels by what they say, and gives the first answer again.
 */
export interface Retry {
  /** In all; 5 unless given. */
  attempts: number;
  /** The pause before the second attempt is random, up to this; it doubles each time. */
  baseMs: number;
  /** No pause is longer. A server that asks for more is not waited for. */
  longestMs: number;
}

export const RETRY: Retry = { attempts: 5, baseMs: 200, longestMs: 10_000 };

/** An attempt that brought no result: the answer, or undefined where none came. */
export type Failed = Response | undefined;

/** Milliseconds to wait after an attempt, counted from 1; undefined to give up. */
export function pauseMs(retry: Retry, attempt: number, failed: Failed): number | undefined {
  if (attempt >= retry.attempts || (failed && !RETRIED.has(failed.status))) {
    return undefined;
  }
  const askedS = failed && retryAfterS(failed);
  if (askedS !== undefined) {
    // A little later each, so that clients who were sent away together do not return together.
    return askedS * 1000 <= retry.longestMs
      ? askedS * 1000 + Math.random() * retry.baseMs
      : undefined;
  }
  return Math.random() * Math.min(retry.longestMs, retry.baseMs * 2 ** (attempt - 1));
}

/** Seconds that the header Retry-After asks for, be they counted or a date. */
export function retryAfterS(response: Response): number | undefined {
  const value = response.headers.get("retry-after")?.trim();
  if (!value) {
    return undefined;
  }
  if (/^\d+$/.test(value)) {
    return Number(value);
  }
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}
