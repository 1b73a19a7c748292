-- Three group roles, none of which can log in. People and processes log in as members of them:
--   paystream_owner   owns every table; only migrations act as it
--   paystream_writer  the sink: writes the read model, appends to the audit log, changes nothing in it
--   paystream_reader  ingress, support, analytics: reads
-- Roles belong to the whole server, so a second database finds them made.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['paystream_owner', 'paystream_writer', 'paystream_reader'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            -- Another database of this server is being migrated at this very moment.
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % does not exist, and % may not create roles', wanted, current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('Let an administrator run: CREATE ROLE paystream_owner NOLOGIN; CREATE ROLE '
                                    'paystream_writer NOLOGIN; CREATE ROLE paystream_reader NOLOGIN; '
                                    'GRANT paystream_owner TO %I;', current_user);
        END;
    END LOOP;

    -- Who makes a role administers it, but may not act as it until that is granted (PostgreSQL 16 and later).
    IF NOT pg_has_role(current_user, 'paystream_owner', 'SET') THEN
        BEGIN
            EXECUTE format('GRANT paystream_owner TO %I WITH INHERIT TRUE, SET TRUE', current_user);
        EXCEPTION
            WHEN unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION '% may not act as paystream_owner', current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('Let an administrator run: GRANT paystream_owner TO %I;', current_user);
        END;
    END IF;

    -- Whoever does not own the database gets a warning from GRANT, not an error: hence the check behind it.
    EXECUTE 'GRANT USAGE, CREATE ON SCHEMA public TO paystream_owner';
    EXECUTE 'GRANT USAGE ON SCHEMA public TO paystream_writer, paystream_reader';
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO paystream_writer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO paystream_reader', current_database());
    IF NOT has_schema_privilege('paystream_owner', 'public', 'CREATE') THEN
        RAISE EXCEPTION 'paystream_owner may not create tables in the schema public of %', current_database()
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Let the owner of the database run: GRANT USAGE, CREATE ON SCHEMA public TO paystream_owner;';
    END IF;
END
$$;

ALTER TABLE schema_migrations OWNER TO paystream_owner;
GRANT SELECT ON schema_migrations TO PUBLIC;
SET LOCAL ROLE paystream_owner;
