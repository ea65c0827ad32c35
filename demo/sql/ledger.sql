-- What the ledger clients write in every database. The keyless copy is there because a change that is applied twice
-- hides behind a primary key (the apply stops) but shows as a second row in a table without one.
CREATE SCHEMA ledger;

CREATE TABLE ledger.entry (
    client integer NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    amount integer NOT NULL,
    note text,
    PRIMARY KEY (client, seq)
);

CREATE TABLE ledger.tally (client integer NOT NULL, seq bigint NOT NULL);
ALTER TABLE ledger.tally REPLICA IDENTITY FULL;

-- One row a client, updated by every one of its commits: an update lost or repeated shows as a wrong sum.
CREATE TABLE ledger.balance (
    client integer PRIMARY KEY,
    commits bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0
);
