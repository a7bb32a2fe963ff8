-- Lists for people, and the numbers of the metrics, at any size of the history.

-- What a user won. By span first (see below), so that a commit writes the few pages of
-- the newest span and not one for each user, and of wins only: an index of all draws
-- by user took a fifth of the draws a second. A list looks into each span.
CREATE INDEX draw_user ON draw (id / 4096, user) WHERE prize_id IS NOT NULL;

-- Where the draws of a campaign and of a time lie: one row for each stretch of
-- 4,096 ids in which the campaign has draws, written by the draw's own
-- transaction. A list reads the stretches that can hold what is asked, from the
-- newest, and passes by the others; an index by campaign and by time would cost
-- each draw. The instants are whole multiples of ten minutes, so that the row
-- changes seldom: from_at <= drawn_at < to_at.
CREATE TABLE draw_span (
  span        INTEGER NOT NULL,             -- id / 4096
  campaign_id INTEGER NOT NULL,
  from_at     INTEGER NOT NULL,
  to_at       INTEGER NOT NULL,
  PRIMARY KEY (span, campaign_id)
) WITHOUT ROWID, STRICT;
INSERT INTO draw_span (span, campaign_id, from_at, to_at)
  SELECT id / 4096, campaign_id, min(drawn_at) / 600000000 * 600000000,
         max(drawn_at) / 600000000 * 600000000 + 600000000
  FROM draw GROUP BY id / 4096, campaign_id;

-- Wins of all time, so that the awards delivered are counted without reading them:
-- wins - unfinished - dead - cancelled.
ALTER TABLE campaign ADD COLUMN wins INTEGER NOT NULL DEFAULT 0;
UPDATE campaign SET wins = (SELECT count(*) FROM draw
  WHERE draw.campaign_id = campaign.id AND draw.prize_id IS NOT NULL);

-- Rescue: everything unfinished, by lane; its cost follows the unfinished awards.
-- The two last columns are for people: lists of unfinished awards and the numbers
-- of the metrics are read from the index alone. Whatever changes them changes
-- `due_at` too, so they cost no write of their own.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (lane, due_at, award_id, state, mq_state) WHERE due_at IS NOT NULL;
-- Dead letters of one reason, and how many there are of each.
CREATE INDEX delivery_dead_reason ON delivery (dead_reason, award_id) WHERE dead_reason IS NOT NULL;
-- Cancelled awards, and how many there are.
CREATE INDEX delivery_cancelled ON delivery (award_id) WHERE state = 'cancelled';
