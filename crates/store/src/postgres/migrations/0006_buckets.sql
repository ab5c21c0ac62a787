-- Storage buckets. The document is model::bucket::Bucket, as JSON. Their files are not in the database.
CREATE TABLE bucket (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    key      text NOT NULL UNIQUE,
    document text NOT NULL
);

-- The folders of a bucket, and its name in lower case, which is unique in each.
CREATE TABLE bucket_folder (
    folder_id   bigint NOT NULL,
    folded_name text NOT NULL,
    bucket_id   bigint NOT NULL,
    PRIMARY KEY (folder_id, folded_name)
);

CREATE INDEX bucket_folder_bucket ON bucket_folder (bucket_id);

-- What the storage is to remove: a file, or, with a slash at the end, all that is below.
CREATE TABLE file_removal (
    stored text PRIMARY KEY
);

-- The key that addresses of files are signed with: one row, once an address was given out.
CREATE TABLE file_signing (
    id  bigint PRIMARY KEY CHECK (id = 1),
    key text NOT NULL
);
