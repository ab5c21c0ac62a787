-- Alerts (model::alert). The document is an AlertContent, as JSON.
CREATE TABLE alert (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which they were raised
    key       text NOT NULL,
    folder_id bigint NOT NULL,
    queue_id  bigint,
    kind      bigint NOT NULL, -- model::alert::AlertKind
    severity  bigint NOT NULL,
    time      timestamptz NOT NULL,
    document  text NOT NULL
);

CREATE UNIQUE INDEX alert_key ON alert (key);
-- When one of a kind was last raised about a queue.
CREATE INDEX alert_queue ON alert (queue_id, kind, time) WHERE queue_id IS NOT NULL;

-- Who has read which; 0: a process that opened the store itself.
CREATE TABLE alert_read (
    alert_id bigint NOT NULL,
    user_id  bigint NOT NULL,
    PRIMARY KEY (alert_id, user_id)
);
