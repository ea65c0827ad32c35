-- pgbench's TPC-B tables, in a schema of their own and each with a key, for pgbench's own load.
CREATE SCHEMA "Bench";
CREATE TABLE "Bench".branches (bid integer PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
CREATE TABLE "Bench".tellers (tid integer PRIMARY KEY, bid integer NOT NULL, balance bigint NOT NULL DEFAULT 0);
CREATE TABLE "Bench".accounts (aid integer PRIMARY KEY, bid integer NOT NULL, balance bigint NOT NULL DEFAULT 0, filler char(84));
CREATE TABLE "Bench".history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tid integer NOT NULL, bid integer NOT NULL, aid integer NOT NULL, delta integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO "Bench".branches SELECT n FROM generate_series(1, 8) n;
INSERT INTO "Bench".tellers SELECT n, 1 + n % 8 FROM generate_series(1, 80) n;
INSERT INTO "Bench".accounts (aid, bid, filler) SELECT n, 1 + n % 8, '' FROM generate_series(1, 20000) n;
