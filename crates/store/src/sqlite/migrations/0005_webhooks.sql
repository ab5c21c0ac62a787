-- Webhooks. The document is model::webhook::Webhook, as JSON; its secret is encrypted with the key of this id.
CREATE TABLE webhook (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    document TEXT NOT NULL,
    key_id   TEXT,
    sealed   TEXT
) STRICT;

-- What is to be delivered: a row for each event and each webhook that has subscribed to it, removed when it was delivered.
CREATE TABLE webhook_delivery (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which they are sent
    webhook_id INTEGER NOT NULL,
    event_id   TEXT NOT NULL,
    event_type TEXT NOT NULL,
    created    INTEGER NOT NULL,
    state      INTEGER NOT NULL, -- model::webhook::DeliveryState
    since      INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    error      TEXT,
    document   TEXT NOT NULL -- model::webhook::WebhookEvent
) STRICT;

CREATE INDEX webhook_delivery_next ON webhook_delivery (webhook_id, state, id);
