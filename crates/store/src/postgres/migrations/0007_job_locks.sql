-- Whoever takes items for a job shares a lock of its name instead of locking its row, so that a process takes in several
-- transactions at once. A program that knows only of the row would end the job between them, and leave items InProgress for
-- ever. (What such a program had begun before this is about jobs that had been started before, whose takers lock the row too.)
UPDATE schema_version SET oldest = 7;
