-- Filters of the list of items that people have named (model::view). query: pairs of names and values, as JSON.
CREATE TABLE saved_view (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again
    owner     bigint NOT NULL, -- a user of a server; 0: a program
    name      text NOT NULL,
    query     text NOT NULL,
    folder_id bigint NOT NULL, -- 0: only the owner sees it
    UNIQUE (owner, name)
);

CREATE INDEX saved_view_folder ON saved_view (folder_id) WHERE folder_id <> 0;
