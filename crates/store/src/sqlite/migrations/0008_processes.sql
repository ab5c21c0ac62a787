-- Processes, machines, and what belongs to them. The document is the value of the model, as JSON.
CREATE TABLE fleet (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    kind     INTEGER NOT NULL, -- fleet::FleetKind
    document TEXT NOT NULL
) STRICT;

CREATE INDEX fleet_kind ON fleet (kind, id);

-- What a job of a process runs (model::process::JobRun), as JSON.
ALTER TABLE job ADD COLUMN run TEXT;
