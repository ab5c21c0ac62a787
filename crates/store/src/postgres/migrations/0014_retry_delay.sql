-- How long an automatic retry waits: model::retry_delay::RetryDelay, as JSON; null for no delay. Older programs go on correctly,
-- but the retries of attempts that end in them do not wait.
ALTER TABLE queue ADD COLUMN retry_delay text;
