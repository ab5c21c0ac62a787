-- Filters of the list of items that people have named (model::view). query: pairs of names and values, as JSON.
CREATE TABLE saved_view (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    owner     INTEGER NOT NULL, -- a user of a server; 0: a program
    name      TEXT NOT NULL,
    query     TEXT NOT NULL,
    folder_id INTEGER NOT NULL, -- 0: only the owner sees it
    UNIQUE (owner, name)
) STRICT;

CREATE INDEX saved_view_folder ON saved_view (folder_id) WHERE folder_id <> 0;
