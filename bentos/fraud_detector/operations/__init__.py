"""The operations API: rules, lists, policy, decisions, cases, labels and the audit log."""
