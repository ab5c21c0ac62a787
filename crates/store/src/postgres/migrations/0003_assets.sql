-- Assets: named values for transactions. The document is model::asset::Asset, as JSON, without what is secret.
CREATE TABLE asset (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    document text NOT NULL
);

-- The folders of an asset, and its name in lower case, which is unique in each.
CREATE TABLE asset_folder (
    folder_id   bigint NOT NULL,
    folded_name text NOT NULL,
    asset_id    bigint NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
);

CREATE INDEX asset_folder_asset ON asset_folder (asset_id);

-- What is secret in the values of assets, encrypted.
CREATE TABLE asset_secret (
    asset_id bigint NOT NULL,
    value_of text NOT NULL, -- model::asset::ValueOf
    key_id   text NOT NULL,
    sealed   text NOT NULL,
    PRIMARY KEY (asset_id, value_of)
);

-- The id of the key that secrets are encrypted with now: one row, once there is a secret.
CREATE TABLE encryption (
    id     bigint PRIMARY KEY CHECK (id = 1),
    key_id text NOT NULL
);
