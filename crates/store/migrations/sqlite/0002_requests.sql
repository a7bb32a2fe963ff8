-- Request keys of everything but draws, kept by the transaction of their effect.
-- The key stands first, so that two rows nearly always differ in the first column.
CREATE TABLE kept_request (
  client      TEXT    NOT NULL,
  operation   TEXT    NOT NULL,             -- method and address
  request_key TEXT    NOT NULL,
  fingerprint BLOB    NOT NULL,
  effect      TEXT,                         -- JSON of what the port answered
  status      INTEGER,                      -- null: died between effect and answer
  body        BLOB,
  at          INTEGER NOT NULL,
  PRIMARY KEY (request_key, operation, client),
  CHECK ((status IS NULL) = (body IS NULL))
) WITHOUT ROWID, STRICT;
-- Cleanup: those older than their retention.
CREATE INDEX kept_request_at ON kept_request (at);

-- The campaigns that a key may speak of, a JSON list; empty: all.
ALTER TABLE api_key ADD COLUMN campaigns TEXT NOT NULL DEFAULT '[]';

-- Who submitted the newest version: a second person may have to approve it.
ALTER TABLE campaign ADD COLUMN submitted_by TEXT;
