-- The first schema. Instants are microseconds since 1970 (UTC); civil days are
-- days since 1970. Each index is named with the query that it serves. States and
-- reasons are text, so that a person with a shell can read a row.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

-- ids: the next draw id that no process has reserved.
CREATE TABLE id_block (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  next INTEGER NOT NULL
) STRICT;
INSERT INTO id_block VALUES (1, 1);

-- A campaign: the version in force (or the newest, if none ever was) with its
-- state, and beside it a newer version that is being prepared.
CREATE TABLE campaign (
  id           INTEGER PRIMARY KEY,
  slug         TEXT    NOT NULL UNIQUE,
  state        TEXT    NOT NULL CHECK (state IN ('draft','submitted','approved','started','paused','closed','refused')),
  version      INTEGER NOT NULL,
  next_version INTEGER,
  next_state   TEXT    CHECK (next_state IN ('draft','submitted','approved','refused')),
  draws        INTEGER NOT NULL DEFAULT 0,
  day          INTEGER NOT NULL DEFAULT 0,  -- latest civil day of its draws: a clock that goes back opens none again
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  CHECK ((next_version IS NULL) = (next_state IS NULL))
) STRICT;

-- Rules are never edited: an edit is a new version.
CREATE TABLE campaign_version (
  campaign_id INTEGER NOT NULL REFERENCES campaign(id),
  version     INTEGER NOT NULL,
  file        TEXT    NOT NULL,             -- canonical JSON of the campaign file
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, version)
) WITHOUT ROWID, STRICT;

-- What was given of a prize; carried over versions by its slug.
CREATE TABLE prize (
  id          INTEGER PRIMARY KEY,
  campaign_id INTEGER NOT NULL REFERENCES campaign(id),
  slug        TEXT    NOT NULL,
  kind        TEXT    NOT NULL CHECK (kind IN ('text','code','points','webhook','physical','external')),
  stock       INTEGER CHECK (stock >= 0),   -- null: unlimited
  spent       INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
  day         INTEGER NOT NULL DEFAULT 0,   -- the civil day that day_spent speaks of
  day_spent   INTEGER NOT NULL DEFAULT 0 CHECK (day_spent >= 0),
  UNIQUE (campaign_id, slug),
  CHECK (stock IS NULL OR spent <= stock)
) STRICT;

-- How often a user has drawn.
CREATE TABLE allowance (
  campaign_id INTEGER NOT NULL,
  user        TEXT    NOT NULL,
  total       INTEGER NOT NULL,
  day         INTEGER NOT NULL,
  day_total   INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, user)
) WITHOUT ROWID, STRICT;

-- Wins by user, only of prizes with per_user_wins.
CREATE TABLE user_win (
  prize_id INTEGER NOT NULL,
  user     TEXT    NOT NULL,
  wins     INTEGER NOT NULL,
  PRIMARY KEY (prize_id, user)
) WITHOUT ROWID, STRICT;

CREATE TABLE blocked_user (
  user   TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  at     INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- Request keys: the first draw of the answer, and its other draws. The key stands
-- before the client, so that two rows nearly always differ in the second column.
CREATE TABLE request (
  campaign_id INTEGER NOT NULL,
  client      TEXT    NOT NULL,
  request_key TEXT    NOT NULL,
  fingerprint BLOB    NOT NULL,
  first_draw  INTEGER NOT NULL,
  more_draws  BLOB,                         -- ids of the others, 8 bytes each, little endian
  PRIMARY KEY (campaign_id, request_key, client)
) WITHOUT ROWID, STRICT;

-- Append-only. (version, unavailable, roll) replays to prize_id.
CREATE TABLE draw (
  id          INTEGER PRIMARY KEY,
  campaign_id INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  user        TEXT    NOT NULL,
  client      TEXT    NOT NULL,
  prize_id    INTEGER,                      -- null: nothing
  roll        INTEGER NOT NULL,             -- 64 random bits
  unavailable BLOB,                         -- bitset of prizes that could not be given
  drawn_at    INTEGER NOT NULL,
  day         INTEGER NOT NULL,
  claim_key   INTEGER NOT NULL,             -- version of the key of its claim token
  traceparent TEXT
) STRICT;

-- One narrow row an award; see the table in core::award. Its checks are written
-- without IN: SQLite would build a table of the list for each row that is written.
CREATE TABLE delivery (
  award_id       INTEGER PRIMARY KEY,
  prize_id       INTEGER NOT NULL,
  kind           TEXT    NOT NULL,
  lane           INTEGER NOT NULL,          -- 0 local, else the endpoint's id
  state          TEXT    NOT NULL CHECK (state = 'pending' OR state = 'delivering' OR state = 'retryable'
                   OR state = 'held' OR state = 'delivered' OR state = 'dead' OR state = 'cancelled'),
  lease          INTEGER NOT NULL,
  due_at         INTEGER,
  attempts       INTEGER NOT NULL DEFAULT 0,
  publishes      INTEGER NOT NULL DEFAULT 0,
  in_doubt       INTEGER NOT NULL DEFAULT 0,
  hold_reason    TEXT,
  dead_reason    TEXT,
  held_at        INTEGER,
  deferred_since INTEGER,
  mq_state       INTEGER NOT NULL DEFAULT 0,
  topic_epoch    INTEGER,
  partition      INTEGER,
  "offset"       INTEGER,
  message_id     TEXT    NOT NULL,
  delivery_key   TEXT    NOT NULL,
  ended_at       INTEGER,                   -- when it came into its final state
  CHECK ((due_at IS NULL) = (state = 'delivered' OR state = 'dead' OR state = 'cancelled')),
  CHECK ((hold_reason IS NOT NULL) = (state = 'held')),
  CHECK ((dead_reason IS NOT NULL) = (state = 'dead'))
) STRICT;
-- Rescue: everything unfinished, by lane; its cost follows the unfinished awards.
CREATE INDEX delivery_due ON delivery (lane, due_at, award_id) WHERE due_at IS NOT NULL;
-- People: the dead letters.
CREATE INDEX delivery_dead ON delivery (award_id) WHERE state = 'dead';
-- Holds that end together: paused, no_code, endpoint_disabled.
CREATE INDEX delivery_held ON delivery (hold_reason, award_id) WHERE hold_reason IS NOT NULL;

-- Append-only: one line for each publish that is worth telling, call, and
-- operator's act. The first publish that went well is told by the row itself.
CREATE TABLE attempt (
  award_id INTEGER NOT NULL,
  n        INTEGER NOT NULL,
  at       INTEGER NOT NULL,
  what     TEXT    NOT NULL,                -- publish, deliver, rescue, operator
  lease    INTEGER NOT NULL,
  decision TEXT    NOT NULL,
  state    TEXT    NOT NULL,                -- after it
  due_at   INTEGER,
  detail   TEXT,                            -- error, receipt, reason, position
  PRIMARY KEY (award_id, n)
) WITHOUT ROWID, STRICT;

CREATE TABLE code_import (
  id          INTEGER PRIMARY KEY,
  campaign_id INTEGER NOT NULL,
  prize_id    INTEGER NOT NULL,
  ready       INTEGER NOT NULL DEFAULT 0,   -- 0: invisible, 1: ready, 2: being removed
  codes       INTEGER NOT NULL DEFAULT 0,
  created_at  INTEGER NOT NULL,
  ready_at    INTEGER
) STRICT;
CREATE INDEX code_import_prize ON code_import (prize_id, ready);

-- key_version 0 is plain; later versions name the key that sealed the bytes.
CREATE TABLE code (
  id          INTEGER PRIMARY KEY,
  import_id   INTEGER NOT NULL,
  campaign_id INTEGER NOT NULL,
  digest      BLOB    NOT NULL,             -- first 16 bytes of its SHA-256: unique in the campaign
  key_version INTEGER NOT NULL,
  sealed      BLOB    NOT NULL,
  award_id    INTEGER UNIQUE,               -- the one award that has it
  voided_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX code_unique ON code (campaign_id, digest);
-- The next free code of an import, and the rows of an import to remove.
CREATE INDEX code_free ON code (import_id, id) WHERE award_id IS NULL AND voided_at IS NULL;

-- One credit an award; a balance is a sum.
CREATE TABLE points_entry (
  award_id INTEGER PRIMARY KEY,
  user     TEXT    NOT NULL,
  points   INTEGER NOT NULL,
  at       INTEGER NOT NULL
) STRICT;
CREATE INDEX points_user ON points_entry (user);

CREATE TABLE address (
  award_id    INTEGER PRIMARY KEY,
  key_version INTEGER NOT NULL,
  sealed      BLOB    NOT NULL,
  at          INTEGER NOT NULL
) STRICT;

CREATE TABLE shipment (
  award_id INTEGER PRIMARY KEY,
  carrier  TEXT    NOT NULL,
  tracking TEXT    NOT NULL,
  at       INTEGER NOT NULL
) STRICT;

CREATE TABLE endpoint (
  lane       INTEGER PRIMARY KEY CHECK (lane > 0),
  name       TEXT    NOT NULL UNIQUE,
  spec       TEXT    NOT NULL,              -- JSON without the secret
  secrets    TEXT    NOT NULL,              -- JSON list, the newest first
  enabled    INTEGER NOT NULL DEFAULT 1,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE pause (
  campaign TEXT NOT NULL DEFAULT '',        -- '' matches all
  prize    TEXT NOT NULL DEFAULT '',
  endpoint TEXT NOT NULL DEFAULT '',
  at       INTEGER NOT NULL,
  PRIMARY KEY (campaign, prize, endpoint)
) WITHOUT ROWID, STRICT;

-- Messages that changed no award, kept for people.
CREATE TABLE kept_message (
  id          INTEGER PRIMARY KEY,
  topic_epoch INTEGER NOT NULL,
  partition   INTEGER NOT NULL,
  "offset"    INTEGER NOT NULL,
  message_key TEXT,
  value       BLOB,
  headers     TEXT    NOT NULL,             -- JSON
  reason      TEXT    NOT NULL,
  at          INTEGER NOT NULL,
  UNIQUE (topic_epoch, partition, "offset")
) STRICT;

-- Append-only.
CREATE TABLE operator_log (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  actor    TEXT    NOT NULL,
  action   TEXT    NOT NULL,
  subject  TEXT    NOT NULL,                -- campaign, prize, endpoint, award … by name
  award_id INTEGER,
  units    INTEGER,                         -- stock given back or changed
  reason   TEXT
) STRICT;
CREATE INDEX operator_log_award ON operator_log (award_id) WHERE award_id IS NOT NULL;

CREATE TABLE api_key (
  id         INTEGER PRIMARY KEY,
  client     TEXT    NOT NULL,
  role       TEXT    NOT NULL,
  hash       BLOB    NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT;
