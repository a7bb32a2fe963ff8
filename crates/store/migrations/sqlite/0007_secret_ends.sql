-- Until when the secrets of an endpoint behind its newest sign: a JSON list of
-- instants, in the order of the sealed list. One that signs already has a day more;
-- where there is none, the instant stands for nothing and is taken away.
ALTER TABLE endpoint ADD COLUMN secret_ends TEXT NOT NULL DEFAULT '[]';
UPDATE endpoint
SET secret_ends = '[' || ((CAST(strftime('%s', 'now') AS INTEGER) + 86400) * 1000000) || ']';
