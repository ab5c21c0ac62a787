-- Assets: named values for transactions. The document is model::asset::Asset, as JSON, without what is secret.
CREATE TABLE asset (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    document TEXT NOT NULL
) STRICT;

-- The folders of an asset, and its name in lower case, which is unique in each.
CREATE TABLE asset_folder (
    folder_id   INTEGER NOT NULL,
    folded_name TEXT NOT NULL,
    asset_id    INTEGER NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX asset_folder_asset ON asset_folder (asset_id);

-- What is secret in the values of assets, encrypted.
CREATE TABLE asset_secret (
    asset_id INTEGER NOT NULL,
    value_of TEXT NOT NULL, -- model::asset::ValueOf
    key_id   TEXT NOT NULL,
    sealed   TEXT NOT NULL,
    PRIMARY KEY (asset_id, value_of)
) STRICT, WITHOUT ROWID;

-- The id of the key that secrets are encrypted with now: one row, once there is a secret.
CREATE TABLE encryption (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    key_id TEXT NOT NULL
) STRICT;
