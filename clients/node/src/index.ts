export { FraudClient, type Options, type Token } from "./client";
export {
  Conflict,
  Forbidden,
  FraudClientError,
  InvalidRequest,
  NoAnswer,
  ProblemError,
  RateLimited,
  ServerError,
  Unauthenticated,
  Unavailable,
} from "./errors";
export type {
  AccountAccess,
  AccountApplication,
  AchTransfer,
  CreditCardTransaction,
  Decision,
  Health,
  LabelSent,
  LabelTold,
  Problem,
  Transaction,
} from "./models";
export type { Retry } from "./retry";
