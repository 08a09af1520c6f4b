// Checked by the compiler, never run: what the types accept and refuse.
import { type Decision, FraudClient, ProblemError, type Transaction } from "fraud-client";

const client = new FraudClient("http://127.0.0.1:8000", { token: async () => "token" });
const payment: Transaction = {
  transaction_id: "T1",
  amount: 150,
  user_id: "U1",
  merchant_id: "M1",
  merchant_category: "electronics",
};

export async function accepted(): Promise<Decision["risk_level"][]> {
  const outcomes = await client.batchPredict([payment]);
  return outcomes.flatMap((each) => (each instanceof ProblemError ? [] : [each.risk_level]));
}

export async function refused(): Promise<void> {
  // @ts-expect-error a required field is missing
  await client.predict({ transaction_id: "T1", amount: 1, user_id: "U1", merchant_id: "M1" });
  // @ts-expect-error not a field of any fraud type
  await client.predict({ ...payment, merchant: "M1" });
  // @ts-expect-error not a source of labels
  await client.labels([{ transaction_id: "T1", is_fraud: true, source: "rumour" }]);
}
