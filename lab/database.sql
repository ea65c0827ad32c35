-- What each database of a server needs. Run by rdsadmin in template1, from which databases are copied, and in postgres.

-- rds_superuser may use replication origins, and whatever else PostgreSQL keeps for superusers but RDS does not.
GRANT EXECUTE ON FUNCTION
    pg_catalog.pg_replication_origin_advance(text, pg_lsn),
    pg_catalog.pg_replication_origin_create(text),
    pg_catalog.pg_replication_origin_drop(text),
    pg_catalog.pg_replication_origin_oid(text),
    pg_catalog.pg_replication_origin_progress(text, boolean),
    pg_catalog.pg_replication_origin_session_is_setup(),
    pg_catalog.pg_replication_origin_session_progress(boolean),
    pg_catalog.pg_replication_origin_session_reset(),
    pg_catalog.pg_replication_origin_xact_reset(),
    pg_catalog.pg_replication_origin_xact_setup(pg_lsn, timestamptz),
    pg_catalog.pg_show_replication_origin_status(),
    pg_catalog.pg_stat_reset()
TO rds_superuser;
GRANT SELECT ON pg_catalog.pg_replication_origin_status TO rds_superuser;

-- RDS has patched the superuser checks of a few commands. Unpatched, they pass only if the role is a superuser at that
-- moment: so it is made one before the command and unmade after it, in the command's own transaction. No other session
-- ever sees it, and a failed command takes it back with its rollback. The lock serialises two such commands: without it
-- the second to update the role's row would fail with "tuple concurrently updated".
CREATE FUNCTION pg_catalog.rdsadmin_lift() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
BEGIN
    -- From 16 pg_create_subscription is enough for subscriptions.
    IF tg_tag LIKE '%SUBSCRIPTION' AND current_setting('server_version_num')::int >= 160000 THEN
        RETURN;
    END IF;
    -- RDS lets rds_superuser create the extensions of an allow-list (rds.extensions); these are on it.
    IF tg_tag = 'CREATE EXTENSION' AND current_query() !~* '\m(amcheck|pg_buffercache|pg_freespacemap|pg_prewarm|'
           'pg_stat_statements|pg_visibility|pg_walinspect|pgrowlocks|pgstattuple|postgres_fdw)\M' THEN
        RETURN;
    END IF;
    IF pg_has_role(caller, 'rds_superuser', 'MEMBER')
       AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = caller) THEN
        LOCK TABLE pg_authid IN SHARE UPDATE EXCLUSIVE MODE;
        EXECUTE format('ALTER ROLE %I SUPERUSER', caller);
    END IF;
END $$;

CREATE FUNCTION pg_catalog.rdsadmin_lower() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
BEGIN
    -- Nobody but rdsadmin is a superuser otherwise, so whoever is one here was lifted a moment ago.
    IF caller <> 'rdsadmin' AND (SELECT rolsuper FROM pg_roles WHERE rolname = caller) THEN
        EXECUTE format('ALTER ROLE %I NOSUPERUSER', caller);
    END IF;
END $$;

-- The functions stand in pg_catalog, where no user's search for schemas, dump or comparison meets them.
CREATE EVENT TRIGGER rdsadmin_lift ON ddl_command_start
    WHEN tag IN ('CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION',
                 'CREATE EXTENSION')
    EXECUTE FUNCTION pg_catalog.rdsadmin_lift();
CREATE EVENT TRIGGER rdsadmin_lower ON ddl_command_end
    WHEN tag IN ('CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION',
                 'CREATE EXTENSION')
    EXECUTE FUNCTION pg_catalog.rdsadmin_lower();
