-- Version 5 to version 6.

-- Servers on which attempts fail that live elsewhere.
ALTER TABLE server ADD COLUMN failing INTEGER;
ALTER TABLE server ADD COLUMN failing_at INTEGER;
