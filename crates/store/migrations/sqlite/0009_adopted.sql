-- What was drawn by another system, once for each order of a source: its award here,
-- whose draw consumed no roll and belongs to no request.
CREATE TABLE adopted (
  source   TEXT    NOT NULL,
  order_id INTEGER NOT NULL,                -- 64 bits, as its system gives them out
  award_id INTEGER NOT NULL,
  PRIMARY KEY (source, order_id)
) WITHOUT ROWID, STRICT;
-- Where an award came from; and whether it was drawn here.
CREATE UNIQUE INDEX adopted_award ON adopted (award_id);
