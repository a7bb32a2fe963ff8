-- The counters by the names under which PostgreSQL, which keeps them elsewhere, has them too.
CREATE VIEW campaign_count AS SELECT id AS campaign_id, draws, wins, day FROM campaign;
CREATE VIEW prize_count AS
  SELECT p.id AS prize_id, p.spent, c.day,  -- the latest that the campaign was drawn on
    CASE WHEN p.day >= c.day THEN p.day_spent ELSE 0 END AS day_spent
  FROM prize p JOIN campaign c ON c.id = p.campaign_id;
