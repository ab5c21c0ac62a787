-- Alerts (model::alert). The document is an AlertContent, as JSON.
CREATE TABLE alert (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which they were raised
    key       TEXT NOT NULL,
    folder_id INTEGER NOT NULL,
    queue_id  INTEGER,
    kind      INTEGER NOT NULL, -- model::alert::AlertKind
    severity  INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    document  TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX alert_key ON alert (key);
-- When one of a kind was last raised about a queue.
CREATE INDEX alert_queue ON alert (queue_id, kind, time) WHERE queue_id IS NOT NULL;

-- Who has read which; 0: a process that opened the store itself.
CREATE TABLE alert_read (
    alert_id INTEGER NOT NULL,
    user_id  INTEGER NOT NULL,
    PRIMARY KEY (alert_id, user_id)
) STRICT, WITHOUT ROWID;
