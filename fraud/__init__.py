"""The ground floor: what events, features, decisions and the ledger are."""
