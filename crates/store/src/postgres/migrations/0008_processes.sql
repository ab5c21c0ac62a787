-- Processes, machines, and what belongs to them. The document is the value of the model, as JSON.
CREATE TABLE fleet (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    kind     bigint NOT NULL, -- fleet::FleetKind
    document text NOT NULL
);

CREATE INDEX fleet_kind ON fleet (kind, id);

-- What a job of a process runs (model::process::JobRun), as JSON.
ALTER TABLE job ADD COLUMN run text;
