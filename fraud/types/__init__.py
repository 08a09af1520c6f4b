"""One file per fraud type: its fields, features, rules, policy and costs."""
