-- Tasks: what people are asked. The document is model::task::Task, as JSON; the data stands beside it.
CREATE TABLE task (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    key        text NOT NULL UNIQUE,
    folder_id  bigint NOT NULL,
    status     bigint NOT NULL, -- model::task::TaskStatus
    is_deleted bigint NOT NULL,
    catalog_id bigint,
    operation  text, -- the operation that made it; of an item that asks its key
    document   text NOT NULL,
    data       text NOT NULL
);

CREATE INDEX task_folder ON task (folder_id, id) WHERE is_deleted = 0;
CREATE INDEX task_open ON task (folder_id, id) WHERE is_deleted = 0 AND status < 2;
CREATE INDEX task_catalog_id ON task (catalog_id) WHERE catalog_id IS NOT NULL AND is_deleted = 0;
CREATE INDEX task_operation ON task (operation, id) WHERE operation IS NOT NULL;

-- The document is model::task::TaskActivity.
CREATE TABLE task_activity (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id  bigint NOT NULL,
    document text NOT NULL
);

CREATE INDEX task_activity_task ON task_activity (task_id, id);

-- The document is model::task::TaskCatalog.
CREATE TABLE task_catalog (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    document text NOT NULL
);
