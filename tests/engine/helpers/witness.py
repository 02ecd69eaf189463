"""The schema of a database, read from the system catalogs: independent of pg_dump and of the product.

Every object has an identity and a definition, so two databases are compared by comparing two dictionaries. The order
of a table's columns, owners, and the current values of sequences are left out.
"""

import sqlalchemy as sa

# PostgreSQL manual, chapter "System Catalogs" and section "System Information Functions". Each query returns an
# identity; its other columns are the definition. `r` is the relations without the version table, `members` what
# extensions own, which is left out (MANAGED). So are the copies of a foreign key for each partition that it refers to.
QUERIES = {
    "SCHEMA": "SELECT quote_ident(nspname) AS identity FROM schemas",
    "TABLE": """
        SELECT r.identity, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident,
            ARRAY(SELECT unnest(reloptions) ORDER BY 1) AS options,
            ARRAY(SELECT unnest(t.reloptions) FROM pg_class t WHERE t.oid = r.reltoastrelid ORDER BY 1)
                AS toast_options,
            (SELECT amname FROM pg_am WHERE oid = relam) AS method,
            (SELECT spcname FROM pg_tablespace WHERE oid = reltablespace) AS tablespace,
            pg_get_partkeydef(r.oid) AS partitioned, pg_get_expr(relpartbound, r.oid) AS bound,
            ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = r.oid ORDER BY inhseqno)
                AS parents,
            NULLIF(reloftype, 0)::regtype AS of_type,
            (SELECT (s.srvname, f.ftoptions)::text FROM pg_foreign_table f
                JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid) AS server
        FROM r WHERE relkind IN ('r', 'p', 'f')""",
    "COLUMN": """
        SELECT r.identity || '.' || quote_ident(attname) AS identity,
            format_type(atttypid, atttypmod) AS type, attnotnull, attidentity, attgenerated,
            EXISTS (SELECT FROM pg_constraint n WHERE n.conrelid = r.oid AND n.contype = 'n'
                AND n.conkey = ARRAY[attnum] AND NOT n.convalidated) AS unvalidated,
            pg_get_expr(d.adbin, d.adrelid) AS default, NULLIF(attcollation, t.typcollation)::regcollation,
            NULLIF(attstorage, t.typstorage) AS storage, attcompression, NULLIF(attstattarget, -1) AS target,
            ARRAY(SELECT o FROM unnest(attoptions) o WHERE NOT starts_with(o, 'pg_')) AS attoptions,
            attfdwoptions, attislocal, attinhcount
        FROM r
        JOIN pg_attribute a ON a.attrelid = r.oid AND attnum > 0 AND NOT attisdropped
        JOIN pg_type t ON t.oid = atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = attnum
        WHERE relkind IN ('r', 'p', 'f', 'v', 'm')""",
    "VIEW": """
        SELECT r.identity, relkind, pg_get_viewdef(r.oid), relispopulated,
            ARRAY(SELECT unnest(reloptions) ORDER BY 1) AS options
        FROM r WHERE relkind IN ('v', 'm')""",
    "SEQUENCE": """
        SELECT r.identity, relpersistence, s.seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax,
            seqcache, seqcycle,
            (SELECT pg_describe_object(refclassid, refobjid, refobjsubid) || d.deptype::text
                FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) AS owner
        FROM r JOIN pg_sequence s ON s.seqrelid = r.oid""",
    "INDEX": """
        SELECT r.identity, pg_get_indexdef(r.oid), indisvalid, indisclustered, indisreplident,
            (SELECT spcname FROM pg_tablespace WHERE oid = reltablespace) AS tablespace,
            ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = r.oid) AS parents,
            ARRAY(SELECT (attnum, NULLIF(attstattarget, -1)) FROM pg_attribute WHERE attrelid = r.oid ORDER BY 1)
                AS targets
        FROM r JOIN pg_index i ON i.indexrelid = r.oid""",
    "CONSTRAINT": """
        SELECT quote_ident(conname) || ' ON ' || coalesce(r.identity, c.contypid::regtype::text) AS identity,
            contype, pg_get_constraintdef(c.oid), conislocal, coninhcount
        FROM pg_constraint c
        LEFT JOIN r ON r.oid = c.conrelid
        LEFT JOIN types t ON t.oid = c.contypid
        WHERE contype <> 't' AND (r.oid IS NOT NULL OR t.oid IS NOT NULL)
            AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid)""",
    "TRIGGER": """
        SELECT quote_ident(tgname) || ' ON ' || r.identity AS identity, pg_get_triggerdef(t.oid), tgenabled
        FROM pg_trigger t JOIN r ON r.oid = t.tgrelid WHERE NOT tgisinternal AND (tgparentid = 0
            OR tgenabled <> (SELECT p.tgenabled FROM pg_trigger p WHERE p.oid = t.tgparentid))""",
    "RULE": """
        SELECT quote_ident(rulename) || ' ON ' || r.identity AS identity, pg_get_ruledef(u.oid), ev_enabled
        FROM pg_rewrite u JOIN r ON r.oid = u.ev_class WHERE rulename <> '_RETURN'""",
    "POLICY": """
        SELECT quote_ident(polname) || ' ON ' || r.identity AS identity, polcmd, polpermissive,
            ARRAY(SELECT pg_get_userbyid(role) FROM unnest(polroles) AS role ORDER BY 1) AS roles,
            pg_get_expr(polqual, polrelid) AS visible, pg_get_expr(polwithcheck, polrelid) AS accepted
        FROM pg_policy p JOIN r ON r.oid = p.polrelid""",
    "STATISTICS": """
        SELECT stxnamespace::regnamespace || '.' || quote_ident(stxname) AS identity,
            pg_get_statisticsobjdef(s.oid), NULLIF(stxstattarget, -1) AS target
        FROM pg_statistic_ext s JOIN r ON r.oid = s.stxrelid""",
    "ROUTINE": """
        SELECT p.oid::regprocedure::text AS identity, p.prokind,
            CASE WHEN prokind = 'a' THEN a::text || prosrc ELSE pg_get_functiondef(p.oid) END AS text
        FROM pg_proc p
        JOIN schemas n ON n.oid = p.pronamespace
        LEFT JOIN LATERAL (
            SELECT aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype, agginitval,
                aggsortop::regoperator, p.proparallel, format_type(p.prorettype, NULL)
            FROM pg_aggregate WHERE aggfnoid = p.oid
        ) a ON true
        WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE members)""",
    "TYPE": """
        SELECT t.oid::regtype::text AS identity, typtype,
            ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) AS labels,
            format_type(typbasetype, typtypmod) AS base, typnotnull, typdefault,
            NULLIF(typcollation, 0)::regcollation AS collation,
            ARRAY(SELECT (attname, format_type(atttypid, atttypmod), attcollation::regcollation)
                FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped
                ORDER BY attnum) AS attributes,
            (SELECT (rngsubtype::regtype, rngcollation::regcollation, rngcanonical, rngsubdiff,
                rngmultitypid::regtype)::text FROM pg_range WHERE rngtypid = t.oid) AS range
        FROM types t""",
    "EXTENSION": """
        SELECT quote_ident(extname) AS identity, extversion, extnamespace::regnamespace FROM pg_extension""",
    "COLLATION": """
        SELECT c.oid::regcollation::text AS identity,
            to_jsonb(c) - '{oid,collnamespace,collowner}'::text[] AS row
        FROM pg_collation c JOIN schemas n ON n.oid = collnamespace
       WHERE ('pg_collation'::regclass, c.oid) NOT IN (TABLE members)""",
    "OPERATOR": """
        SELECT o.oid::regoperator::text AS identity, oprcode, oprrest, oprjoin, oprcanmerge, oprcanhash,
            oprcom::regoperator, oprnegate::regoperator
        FROM pg_operator o JOIN schemas n ON n.oid = oprnamespace
     WHERE ('pg_operator'::regclass, o.oid) NOT IN (TABLE members)""",
    "OPERATOR CLASS": """
        SELECT pg_describe_object('pg_opclass'::regclass, o.oid, 0) AS identity, opcintype::regtype, opcdefault,
            NULLIF(opckeytype, 0)::regtype AS storage,
            ARRAY(SELECT (amopstrategy, amopopr::regoperator) FROM pg_amop WHERE amopfamily = opcfamily ORDER BY 1)
                AS operators,
            ARRAY(SELECT (amprocnum, amproc::regprocedure) FROM pg_amproc WHERE amprocfamily = opcfamily ORDER BY 1)
                AS functions
        FROM pg_opclass o JOIN schemas n ON n.oid = opcnamespace
     WHERE ('pg_opclass'::regclass, o.oid) NOT IN (TABLE members)""",
    "CAST": """
        SELECT pg_describe_object('pg_cast'::regclass, c.oid, 0) AS identity, castfunc::regprocedure,
            castcontext, castmethod
        FROM pg_cast c WHERE c.oid >= 16384 AND ('pg_cast'::regclass, c.oid) NOT IN (TABLE members)""",
    "EVENT TRIGGER": """
        SELECT quote_ident(evtname) AS identity, evtevent, evtfoid::regproc, evtenabled, evttags
        FROM pg_event_trigger""",
    "PUBLICATION": """
        SELECT quote_ident(pubname) AS identity, puballtables, pubinsert, pubupdate, pubdelete,
            pubtruncate, pubviaroot,
            ARRAY(SELECT pnnspid::regnamespace::text FROM pg_publication_namespace
                WHERE pnpubid = p.oid ORDER BY 1) AS schemas,
            ARRAY(SELECT (prrelid::regclass::text, pg_get_expr(prqual, prrelid),
                    ARRAY(SELECT attname::text FROM pg_attribute
                        WHERE attrelid = prrelid AND attnum = ANY (prattrs) ORDER BY 1))
                FROM pg_publication_rel WHERE prpubid = p.oid ORDER BY 1) AS tables
        FROM pg_publication p""",
    "WRAPPER": """
        SELECT quote_ident(fdwname) AS identity, fdwhandler::regproc, fdwvalidator::regproc, fdwoptions
        FROM pg_foreign_data_wrapper f WHERE ('pg_foreign_data_wrapper'::regclass, f.oid) NOT IN (TABLE members)""",
    "SERVER": """
        SELECT quote_ident(srvname) AS identity, fdwname, srvtype, srvversion, srvoptions
        FROM pg_foreign_server JOIN pg_foreign_data_wrapper f ON f.oid = srvfdw""",
    "TEXT SEARCH": """
        SELECT c.oid::regconfig::text AS identity, cfgparser,
            ARRAY(SELECT (maptokentype, mapseqno, mapdict::regdictionary) FROM pg_ts_config_map
                WHERE mapcfg = c.oid ORDER BY 1) AS mapping
        FROM pg_ts_config c JOIN schemas n ON n.oid = cfgnamespace
        UNION ALL
        SELECT d.oid::regdictionary::text, dicttemplate, ARRAY[ROW(dictinitoption)]
        FROM pg_ts_dict d JOIN schemas n ON n.oid = dictnamespace""",
    "COMMENT": """
        SELECT type || ' ' || o.identity AS identity, description
        FROM pg_description d, pg_identify_object(classoid, objoid, objsubid) o
        WHERE (objoid >= 16384 OR classoid = 'pg_namespace'::regclass)
            AND (schema IS NULL OR schema IN (SELECT nspname FROM schemas))
            AND (classoid, objoid) NOT IN (TABLE members) AND NOT o.identity ~ '(^|\\.)alembic_version'""",
    "ACL": """
        SELECT type || ' ' || o.identity AS identity, ARRAY(
                SELECT (pg_get_userbyid(grantor), grantee::regrole, privilege_type, is_grantable)::text
                FROM aclexplode(acl) ORDER BY 1
            ) AS granted
        FROM (
            SELECT 'pg_class'::regclass AS class, oid AS object, 0 AS part, relacl AS acl,
                acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner) AS usual FROM r
            UNION ALL SELECT 'pg_class'::regclass, r.oid, attnum, attacl, '{}'
            FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT 'pg_proc'::regclass, p.oid, 0, proacl, acldefault('f', proowner)
            FROM pg_proc p JOIN schemas n ON n.oid = pronamespace
     WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE members)
            UNION ALL SELECT 'pg_type'::regclass, oid, 0, typacl, acldefault('T', typowner) FROM types
            UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspacl, acldefault('n', nspowner) FROM schemas
            UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvacl, acldefault('S', srvowner)
            FROM pg_foreign_server
        ) a, pg_identify_object(class, object, part) o
        WHERE acl IS NOT NULL AND NOT (acl @> usual AND acl <@ usual)""",
    "DEFAULT ACL": """
        SELECT concat_ws(' ', pg_get_userbyid(defaclrole), NULLIF(defaclnamespace, 0)::regnamespace,
                defaclobjtype) AS identity,
            ARRAY(SELECT e::text FROM aclexplode(defaclacl) e ORDER BY 1) AS granted
        FROM pg_default_acl""",
}
MANAGED = """
    WITH members AS MATERIALIZED (
        SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
    ), schemas AS (
        SELECT * FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
       AND ('pg_namespace'::regclass, oid) NOT IN (TABLE members)
    ), r AS (
        SELECT c.*, c.oid::regclass::text AS identity
        FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace
        LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I')
     AND ('pg_class'::regclass, c.oid) NOT IN (TABLE members)
            AND NOT EXISTS (SELECT FROM pg_class v WHERE v.oid IN (c.oid, i.indrelid)
                AND v.relname ~ '^alembic_version')
    ), types AS (
        SELECT t.* FROM pg_type t
        JOIN schemas n ON n.oid = t.typnamespace
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE typtype IN ('e', 'd', 'r', 'c') AND coalesce(relkind, 'c') = 'c'
        AND ('pg_type'::regclass, t.oid) NOT IN (TABLE members)
    )
"""


Catalog = dict[str, str]
"""Identity → definition."""


def read(connection: sa.Connection) -> Catalog:
    """Return all objects of a database."""
    parts = (
        f"SELECT '{kind} ' || q.identity AS identity, (to_jsonb(q) - 'identity')::text AS definition"
        f" FROM ({query}) q"
        for kind, query in QUERIES.items()
    )
    with connection.begin():
        connection.exec_driver_sql("SET search_path = ''")  # so that every name is qualified
        rows = connection.exec_driver_sql(MANAGED + " UNION ALL ".join(parts)).all()
        connection.exec_driver_sql("RESET search_path")
    catalog = {row.identity: row.definition for row in rows}
    assert len(catalog) == len(rows), "two objects share an identity"
    return catalog


def difference(left: Catalog, right: Catalog) -> list[str]:
    """Return a line for each object that differs."""
    return [
        f"{identity}: {left.get(identity, 'missing')} -> {right.get(identity, 'missing')}"
        for identity in sorted(left.keys() | right.keys())
        if left.get(identity) != right.get(identity)
    ]
