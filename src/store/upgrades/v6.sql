-- Version 5 to version 6.

-- Servers on which attempts fail that live elsewhere.
ALTER TABLE server ADD COLUMN failing INTEGER;
ALTER TABLE server ADD COLUMN failing_at INTEGER;

-- A second tier says how often it reports; what was placed there since its last report; whether it has left.
ALTER TABLE report ADD COLUMN period INTEGER;
ALTER TABLE report ADD COLUMN placed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE distributor ADD COLUMN left_at INTEGER;
-- Registrations by `--to all`, and those that end.
ALTER TABLE registration ADD COLUMN implied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE registration ADD COLUMN left_at INTEGER;
DROP VIEW distributor_view;
CREATE VIEW distributor_view AS
SELECT d.name, d.tier, d.endpoint,
       CASE WHEN d.drained IS NOT NULL THEN 'DRAINED' WHEN d.allowed = 0 THEN 'REGISTERED' WHEN d.left_at IS NOT NULL THEN 'LEFT'
            WHEN d.silent_since IS NOT NULL THEN 'SILENT'
            WHEN (SELECT r.received_at + coalesce(r.period, 86400000) + 60000 FROM report r WHERE r.distributor_id = d.id)
                 < unixepoch('subsec') * 1000 THEN 'STALE'
            ELSE 'UP' END AS state,
       d.drained AS drain_reason,
       coalesce((SELECT r.servers FROM report r WHERE r.distributor_id = d.id),
                (SELECT count(*) FROM server s WHERE s.distributor_id = d.id)) AS servers,
       d.position, p.policy,
       strftime('%Y-%m-%dT%H:%M:%fZ', (SELECT r.received_at FROM report r WHERE r.distributor_id = d.id) / 1000.0, 'unixepoch') AS reported_at
FROM distributor d JOIN distributor_set p ON p.tier = d.tier;

-- When something was declared of a user last.
ALTER TABLE user ADD COLUMN declared_at INTEGER;
