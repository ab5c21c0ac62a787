-- Storage buckets. The document is model::bucket::Bucket, as JSON. Their files are not in the database.
CREATE TABLE bucket (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    key      TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL
) STRICT;

-- The folders of a bucket, and its name in lower case, which is unique in each.
CREATE TABLE bucket_folder (
    folder_id   INTEGER NOT NULL,
    folded_name TEXT NOT NULL,
    bucket_id   INTEGER NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX bucket_folder_bucket ON bucket_folder (bucket_id);

-- What the storage is to remove: a file, or, with a slash at the end, all that is below.
CREATE TABLE file_removal (
    stored TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The key that addresses of files are signed with: one row, once an address was given out.
CREATE TABLE file_signing (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key TEXT NOT NULL
) STRICT;
