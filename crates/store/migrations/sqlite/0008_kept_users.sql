-- The user that a kept answer speaks of, who may have to be erased.
ALTER TABLE kept_request ADD COLUMN user TEXT;
-- Erasing: what is kept of one user.
CREATE INDEX kept_request_user ON kept_request (user) WHERE user IS NOT NULL;
