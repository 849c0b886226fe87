-- Version 4 to version 5.

-- What tasks inherit from the process that submitted them. Tasks of earlier versions inherit nothing.
CREATE TABLE environment (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB    NOT NULL UNIQUE,
    attributes TEXT    NOT NULL CHECK (json_valid(attributes)),
    variables  BLOB,
    made_at    INTEGER NOT NULL,
    erased_at  INTEGER
) STRICT;
ALTER TABLE task ADD COLUMN environment_id INTEGER;
