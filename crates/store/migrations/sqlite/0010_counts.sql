-- The counters by the names under which PostgreSQL, which keeps them elsewhere, has them too.
CREATE VIEW campaign_count AS SELECT id AS campaign_id, draws, wins, day FROM campaign;
CREATE VIEW prize_count AS SELECT id AS prize_id, spent, day, day_spent FROM prize;
