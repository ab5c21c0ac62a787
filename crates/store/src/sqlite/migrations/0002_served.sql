-- What a server needs: folders, users, and what callers over HTTP say about items.

-- The folders a queue is in; its name is taken in each of them.
CREATE TABLE queue_folder (
    folder_id   INTEGER NOT NULL,
    folded_name TEXT NOT NULL, -- what makes two names the same
    queue_id    INTEGER NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_folder_queue ON queue_folder (queue_id);

INSERT INTO queue_folder (folder_id, folded_name, queue_id)
SELECT 1, folded_name, id FROM queue WHERE deleted = 0; -- model::key::FolderId::SHARED

DROP INDEX queue_name;

ALTER TABLE queue ADD COLUMN home_folder_id INTEGER NOT NULL DEFAULT 1; -- where it was made
ALTER TABLE queue ADD COLUMN specific_data_schema TEXT;
ALTER TABLE queue ADD COLUMN output_data_schema TEXT;
ALTER TABLE queue ADD COLUMN analytics_data_schema TEXT;
ALTER TABLE queue ADD COLUMN notes TEXT; -- model::queue::QueueNotes, as JSON

ALTER TABLE item ADD COLUMN creator_job BLOB;
ALTER TABLE item ADD COLUMN parent_operation_id TEXT;
ALTER TABLE item ADD COLUMN source INTEGER;

ALTER TABLE item_state ADD COLUMN robot_id INTEGER; -- of a caller over HTTP
ALTER TABLE item_state ADD COLUMN executor BLOB;    -- the job that such a caller says it is
ALTER TABLE item_state ADD COLUMN analytics TEXT;
ALTER TABLE item_state ADD COLUMN operation_id TEXT;

ALTER TABLE item_event ADD COLUMN user_id INTEGER;

ALTER TABLE job ADD COLUMN folder_id INTEGER NOT NULL DEFAULT 1; -- where it was started

-- Who may do what: model::directory::Directory as JSON, in one row.
CREATE TABLE directory (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    text    TEXT NOT NULL
) STRICT;
