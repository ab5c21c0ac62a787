-- Webhooks. The document is model::webhook::Webhook, as JSON; its secret is encrypted with the key of this id.
CREATE TABLE webhook (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    document text NOT NULL,
    key_id   text,
    sealed   text
);

-- What is to be delivered: a row for each event and each webhook that has subscribed to it, removed when it was delivered.
CREATE TABLE webhook_delivery (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which they are sent
    webhook_id bigint NOT NULL,
    event_id   text NOT NULL,
    event_type text NOT NULL,
    created    timestamptz NOT NULL,
    state      bigint NOT NULL, -- model::webhook::DeliveryState
    since      timestamptz NOT NULL,
    tries      bigint NOT NULL,
    error      text,
    document   text NOT NULL -- model::webhook::WebhookEvent
);

CREATE INDEX webhook_delivery_next ON webhook_delivery (webhook_id, state, id);
