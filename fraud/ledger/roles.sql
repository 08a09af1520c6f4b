-- The role of the processes that serve. It reads the ledger and adds to it; the audit log it
-- can only add to, whatever its code does. Nobody logs in as it: grant it to your login role.
-- Safe to run again; run it after every migration.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fraud_service') THEN
        CREATE ROLE fraud_service NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    RAISE NOTICE 'another database of this server made the role meanwhile';
END
$$;

GRANT USAGE ON SCHEMA public TO fraud_service;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO fraud_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO fraud_service;
GRANT INSERT ON transactions, decisions, labels, feature_schemas, audit_log TO fraud_service;
GRANT INSERT ON ruleset_revisions, rules, lists, policies TO fraud_service;
GRANT INSERT, UPDATE ON fraud_alerts, cases, audit_anchor TO fraud_service;
GRANT INSERT, UPDATE ON pass_through_spent TO fraud_service;
GRANT INSERT, UPDATE ON rule_states, list_entries, policy_periods TO fraud_service;
GRANT INSERT, UPDATE, DELETE ON entity_state, outbox TO fraud_service;
GRANT INSERT, UPDATE, DELETE ON outbox_sinks, outbox_dead_letters TO fraud_service;
GRANT INSERT ON erasure_requests TO fraud_service;
GRANT UPDATE ON labels TO fraud_service;
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log, transactions, decisions FROM fraud_service;
