-- Fails a transaction that has written fewer rows than it meant to, because another transaction has changed them: so the
-- statements and the commit behind them need no answer between them.
CREATE FUNCTION expect_rows(written bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> expected THEN
        RAISE EXCEPTION 'rows were changed by another transaction' USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
