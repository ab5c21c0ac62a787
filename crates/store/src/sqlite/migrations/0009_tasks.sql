-- Tasks: what people are asked. The document is model::task::Task, as JSON; the data stands beside it.
CREATE TABLE task (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    key        TEXT NOT NULL UNIQUE,
    folder_id  INTEGER NOT NULL,
    status     INTEGER NOT NULL, -- model::task::TaskStatus
    is_deleted INTEGER NOT NULL,
    catalog_id INTEGER,
    operation  TEXT, -- the operation that made it; of an item that asks its key
    document   TEXT NOT NULL,
    data       TEXT NOT NULL
) STRICT;

CREATE INDEX task_folder ON task (folder_id, id) WHERE is_deleted = 0;
CREATE INDEX task_open ON task (folder_id, id) WHERE is_deleted = 0 AND status < 2;
CREATE INDEX task_catalog_id ON task (catalog_id) WHERE catalog_id IS NOT NULL AND is_deleted = 0;
CREATE INDEX task_operation ON task (operation, id) WHERE operation IS NOT NULL;

-- The document is model::task::TaskActivity.
CREATE TABLE task_activity (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id  INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX task_activity_task ON task_activity (task_id, id);

-- The document is model::task::TaskCatalog.
CREATE TABLE task_catalog (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    document TEXT NOT NULL
) STRICT;
