-- Points that were taken back: at most once an award; a balance is what was given
-- less what was taken back.
CREATE TABLE points_reversal (
  award_id INTEGER PRIMARY KEY,
  user     TEXT    NOT NULL,
  points   INTEGER NOT NULL,
  at       INTEGER NOT NULL
) STRICT;
CREATE INDEX points_reversal_user ON points_reversal (user);

-- Dead letters that somebody has seen to. An award is on the list again when it
-- was put back and died again: its lease has grown.
CREATE TABLE dismissed_award (
  award_id INTEGER PRIMARY KEY,
  lease    INTEGER NOT NULL,
  at       INTEGER NOT NULL
) STRICT;
ALTER TABLE kept_message ADD COLUMN dismissed_at INTEGER;

-- Bulk actions: what was asked for, and how far they are.
CREATE TABLE operation (
  id         INTEGER PRIMARY KEY,
  spec       TEXT    NOT NULL,              -- JSON
  actor      TEXT    NOT NULL,
  reason     TEXT,
  state      TEXT    NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
  done       INTEGER NOT NULL DEFAULT 0,
  in_doubt   INTEGER NOT NULL DEFAULT 0,
  refused    INTEGER NOT NULL DEFAULT 0,
  after      INTEGER,                       -- the last award that was looked at
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
-- Those to go on with at a start.
CREATE INDEX operation_running ON operation (id) WHERE state = 'running';

-- Users that are being replaced by another name: until it is done their counters
-- stand under the old one, and the audit counts both together.
CREATE TABLE erasing (
  user      TEXT PRIMARY KEY,
  pseudonym TEXT NOT NULL UNIQUE
) WITHOUT ROWID, STRICT;
