-- What RDS has in each of its servers and PostgreSQL has not. Run once, by rdsadmin, in the database rdsadmin.
-- The master's name and its SCRAM verifier (never the password, which a log might catch) are filled in by psycopg.sql.

CREATE ROLE rds_replication;
CREATE ROLE rds_password;
CREATE ROLE rds_superuser;
GRANT pg_monitor, pg_signal_backend TO rds_superuser WITH ADMIN OPTION;
GRANT rds_replication, rds_password TO rds_superuser WITH ADMIN OPTION;

CREATE ROLE {master} LOGIN CREATEROLE CREATEDB REPLICATION PASSWORD {verifier} VALID UNTIL 'infinity';
GRANT rds_superuser, rds_replication, pg_monitor, pg_signal_backend TO {master} WITH ADMIN OPTION;

-- RDS gives its master these predefined roles where the version has them.
DO $$
DECLARE
    given name;
BEGIN
    FOR given IN SELECT rolname FROM pg_roles WHERE rolname IN ('pg_checkpoint', 'pg_create_subscription', 'pg_maintain',
                                                                'pg_use_reserved_connections')
    LOOP
        EXECUTE format('GRANT %I TO rds_superuser WITH ADMIN OPTION', given);
    END LOOP;
END $$;

-- The databases that every server has are the master's, but for the lab's own.
ALTER DATABASE postgres OWNER TO {master};
ALTER DATABASE template1 OWNER TO {master};
REVOKE CONNECT, TEMPORARY ON DATABASE rdsadmin FROM PUBLIC;
