-- Processes that serve this database: each tells of itself every few seconds, so that
-- `doctor` knows whether anybody rescues. SQLite has one process, and no such table.
--
-- `seen_at` and what is counted from it is the server's time: no clock of a process is
-- believed. `clock_off` is in microseconds.
CREATE TABLE process (
  id          text   PRIMARY KEY COLLATE "C",  -- of one start
  roles       text   NOT NULL,                 -- as `serve --roles` takes them
  version     text   NOT NULL,
  host        text   NOT NULL,
  pid         bigint NOT NULL,
  connections bigint NOT NULL,                 -- that its pools may have
  clock_off   bigint NOT NULL,                 -- how far its clock was off, at its last look
  started_at  bigint NOT NULL,
  seen_at     bigint NOT NULL
);
