-- Sealing: which secrets sealed something here, the key of the codes' digests, and
-- how far the sealing of older rows has come.

-- A version of the secrets, with a mark that tells another secret under its number.
CREATE TABLE seal_key (
  version INTEGER PRIMARY KEY,
  mark    BLOB NOT NULL
) STRICT;

-- Sealed like a row, so that a change of the secret changes no digest. Codes up to
-- plain_until may still be of version 0, with digests that have no key.
CREATE TABLE digest_key (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  key_version INTEGER NOT NULL,
  sealed      BLOB    NOT NULL,
  plain_until INTEGER NOT NULL
) STRICT;

-- The walk over all rows that seals them under `version`: the tables before
-- `at_table` are done, and of that one the rows up to `after`.
CREATE TABLE reseal (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  version  INTEGER NOT NULL,
  at_table TEXT,                            -- null: all are done
  after    INTEGER NOT NULL,
  stuck    INTEGER NOT NULL                 -- rows that did not open
) STRICT;

-- The secrets of endpoints become sealed bytes: a JSON list, the newest first.
ALTER TABLE endpoint ADD COLUMN key_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN sealed BLOB NOT NULL DEFAULT x'';
UPDATE endpoint SET sealed = CAST(secrets AS BLOB);
ALTER TABLE endpoint DROP COLUMN secrets;
