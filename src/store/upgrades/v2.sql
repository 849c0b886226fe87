-- Version 1 to version 2: servers over SSH, files that travel with tasks, distributors in other homes.

-- Servers over SSH.
ALTER TABLE server ADD COLUMN ssh_options TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(ssh_options));
ALTER TABLE server ADD COLUMN remote_dir TEXT;
ALTER TABLE server ADD COLUMN prologue TEXT;
ALTER TABLE task ADD COLUMN client_home BLOB;
-- Cloned machines share their machine-id: a host is told by that and its name.
UPDATE host SET machine = machine || '-' || hostname WHERE machine NOT LIKE 'host-%';
