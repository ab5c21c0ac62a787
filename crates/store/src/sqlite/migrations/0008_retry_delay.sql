-- How long an automatic retry waits: model::retry_delay::RetryDelay, as JSON; null for no delay.
ALTER TABLE queue ADD COLUMN retry_delay TEXT;
