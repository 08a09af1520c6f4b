"""How the ledger's tables came to be what they are; `migrate` brings a database up to date."""
