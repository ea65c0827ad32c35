-- The control database: its tables, the fence, and the watchdog that takes the fence down by itself.
--
-- Made by `prepare` before the snapshot, so the restored copy has it as well. The fence is inside the server because it
-- must be recorded and put up in one transaction, because a loop there costs no round trip, and because the watchdog
-- has to outlive its client. For PostgreSQL 13 to 18 and a master that is no superuser. Safe to repeat:
--   psql --dbname encryptdb --single-transaction --file control.sql

CREATE SCHEMA IF NOT EXISTS encryptdb;

-- One row for each fact that a later command needs (controller/records.py).
CREATE TABLE IF NOT EXISTS encryptdb.record (
    key     text PRIMARY KEY,
    version integer NOT NULL,
    value   jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was done, by whom, in order. Only ever added to.
CREATE TABLE IF NOT EXISTS encryptdb.journal (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    who    text NOT NULL,
    event  text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);

-- What the fence changed, so that it can be put back as it was. A row: this database is fenced.
CREATE TABLE IF NOT EXISTS encryptdb.fence (
    database oid PRIMARY KEY,
    allowed  boolean NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Record and fence all databases, or none.
CREATE OR REPLACE FUNCTION encryptdb.fence_up(databases oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE d record;
BEGIN
    FOR d IN SELECT oid, datname, datallowconn FROM pg_database WHERE oid = ANY (databases) ORDER BY oid LOOP
        INSERT INTO encryptdb.fence (database, allowed) VALUES (d.oid, d.datallowconn) ON CONFLICT DO NOTHING;
        EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS false', d.datname);
    END LOOP;
END
$function$;

-- Put back what fence_up recorded. Returns the number of databases; 0 where nothing is fenced.
CREATE OR REPLACE FUNCTION encryptdb.fence_down(who text, why text) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE d record; n integer := 0;
BEGIN
    FOR d IN SELECT f.database, f.allowed, p.datname
               FROM encryptdb.fence f LEFT JOIN pg_database p ON p.oid = f.database
              ORDER BY f.database FOR UPDATE OF f LOOP
        IF d.datname IS NOT NULL THEN
            EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS %s', d.datname,
                           CASE WHEN d.allowed THEN 'true' ELSE 'false' END);
        END IF;
        DELETE FROM encryptdb.fence WHERE database = d.database;
        n := n + 1;
    END LOOP;
    IF n > 0 THEN
        INSERT INTO encryptdb.journal (who, event, detail) VALUES (who, 'fence down', jsonb_build_object('why', why));
    END IF;
    RETURN n;
END
$function$;

-- The watchdog: after so many seconds, take the fence down, whoever is (or is not) still there to see it.
CREATE OR REPLACE FUNCTION encryptdb.watch(seconds double precision) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM pg_sleep(seconds);
    FOR attempt IN 1..50 LOOP
        BEGIN
            RETURN encryptdb.fence_down('watchdog', format('no cutover within %s s', seconds));
        EXCEPTION WHEN OTHERS THEN
            -- Somebody altered the database at the same moment, or holds a lock on it.
            IF attempt = 50 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
END
$function$;

-- Whether a session is a watchdog that still counts down. The query says nothing to one who may not read it.
CREATE OR REPLACE FUNCTION encryptdb.watching(session integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
BEGIN
    PERFORM pg_stat_clear_snapshot();
    RETURN EXISTS (SELECT FROM pg_stat_activity
                    WHERE pid = session AND datname = current_database() AND state = 'active'
                      AND wait_event = 'PgSleep' AND query LIKE 'SELECT encryptdb.watch(%');
END
$function$;

-- End the watchdog, see it gone, and then read the fence once more. NULL: it is gone and the fence holds.
-- Anything else says why this is not certain, and then nobody may open the other side.
CREATE OR REPLACE FUNCTION encryptdb.stand_down(session integer, databases oid[]) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
DECLARE open_ text;
BEGIN
    IF NOT encryptdb.watching(session) THEN
        RETURN 'the watchdog is not running any more';
    END IF;
    PERFORM pg_terminate_backend(session);
    FOR attempt IN 1..1000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = session);
        IF attempt = 1000 THEN
            RETURN 'the watchdog was told to end but did not';
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    IF EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
                  AND state = 'active' AND query LIKE 'SELECT encryptdb.watch(%') THEN
        RETURN 'another watchdog, of a run that was killed, may take it down at any moment';
    END IF;
    SELECT string_agg(d.datname, ', ' ORDER BY d.oid) INTO open_
      FROM pg_database d WHERE d.oid = ANY (databases)
       AND (d.datallowconn OR NOT EXISTS (SELECT FROM encryptdb.fence f WHERE f.database = d.oid));
    RETURN 'the fence does not hold in ' || open_;
END
$function$;

-- One pass over everybody who is in the databases and has no business there: end them, and name those found.
-- Nobody found: closed. Read in this order, because a session that has passed the connection check is first seen as a
-- lock on the database (post_auth_delay stretches that moment) and then, before it lets go, as an activity.
--   spared  backends of the controller           slots  whose walsenders stay: what they send is the way out
CREATE OR REPLACE FUNCTION encryptdb.evict(databases oid[], spared integer[], slots text[])
RETURNS TABLE (pid integer, database text, role text, kind text, client text, application text, refused boolean)
LANGUAGE plpgsql SET search_path = pg_catalog AS $function$
#variable_conflict use_column
DECLARE entering integer[];
BEGIN
    SELECT array_agg(DISTINCT l.pid) INTO entering FROM pg_locks l
     WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.objid = ANY (databases)
       AND l.pid <> pg_backend_pid() AND l.pid <> ALL (spared);
    PERFORM pg_stat_clear_snapshot();
    FOR pid, database, role, kind, client, application IN
        SELECT coalesce(a.pid, e.pid), a.datname, a.usename, coalesce(a.backend_type, 'session that is connecting'),
               a.client_addr::text, a.application_name
          FROM (SELECT * FROM pg_stat_activity s WHERE s.datid = ANY (databases)) a
          FULL JOIN unnest(entering) e (pid) ON e.pid = a.pid
         WHERE coalesce(a.pid, e.pid) <> ALL (spared)
           AND (e.pid IS NOT NULL OR a.backend_type IS NULL
                OR a.backend_type <> 'autovacuum worker'
                   AND NOT (a.backend_type = 'walsender' AND EXISTS (
                       SELECT FROM pg_replication_slots r WHERE r.slot_name = ANY (slots) AND r.active_pid = a.pid)))
    LOOP
        BEGIN
            PERFORM pg_terminate_backend(pid);
            refused := false;
        EXCEPTION WHEN insufficient_privilege THEN
            refused := true;
        END;
        RETURN NEXT;
    END LOOP;
END
$function$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA encryptdb FROM PUBLIC;
