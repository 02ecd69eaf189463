-- A schema with every kind of object that PostgreSQL 15 has, with names and texts as odd as they may be.
-- A superuser runs the whole file as one string in one transaction, in an empty database.
SET LOCAL search_path = '';

-- Roles belong to the cluster: other databases may have made them already, or be making them now
DO $do$ DECLARE role text; BEGIN
    FOREACH role IN ARRAY ARRAY[
        'feature_owner', 'feature_reader', 'feature_writer', 'feature_granter', 'feature_maker',
        'feature_O''Dd "Role" %s', 'feature_role_with_a_name_as_long_as_names_may_be_which_is_63_by'
    ] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END $do$;

-- Schemas and extensions; one extension's schema has an odd name
CREATE SCHEMA ext;
CREATE SCHEMA "Ext. ""q"" %x";
CREATE SCHEMA shop AUTHORIZATION feature_owner;
CREATE SCHEMA "select";
CREATE SCHEMA "user" AUTHORIZATION "feature_O'Dd ""Role"" %s";
CREATE SCHEMA empty_one;
CREATE EXTENSION citext SCHEMA public;
DO $do$ DECLARE extension text; BEGIN
    FOREACH extension IN ARRAY ARRAY['hstore', 'pg_trgm', 'btree_gist', 'intarray', 'postgres_fdw', 'file_fdw'] LOOP
        EXECUTE format('CREATE EXTENSION %I SCHEMA ext', extension);
    END LOOP;
    CREATE EXTENSION ltree SCHEMA "Ext. ""q"" %x";
    CREATE EXTENSION tablefunc SCHEMA "Ext. ""q"" %x";
END $do$;

-- Collations and conversions
CREATE COLLATION shop.c_copy FROM "C";
CREATE COLLATION "select"."Collation %" (LOCALE = 'POSIX');
CREATE COLLATION shop.two_parts (LC_COLLATE = 'C', LC_CTYPE = 'POSIX');
CREATE CONVERSION shop.plain FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE DEFAULT CONVERSION "select"."Conversion %" FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;

-- Enums
CREATE TYPE shop.mood AS ENUM ('sad', 'so''so', '100 % {} :x %s', 'back\slash', '"quoted"', 'happy');
ALTER TYPE shop.mood ADD VALUE 'a value with a text as long as enum values may have, i.e. 63 by' BEFORE 'happy';
ALTER TYPE shop.mood RENAME VALUE 'sad' TO 'Sad, $$';
CREATE TYPE "select"."Enum ""q"" %" AS ENUM ();

-- Composite types, one of which lost an attribute
CREATE TYPE shop.money_pair AS (amount numeric(12, 2), currency char(3));
CREATE TYPE shop.address AS (
    "Street %s" text COLLATE "C", gone integer, zip varchar(10), tags text[], price shop.money_pair, moods shop.mood[]);
ALTER TYPE shop.address DROP ATTRIBUTE gone;
CREATE TYPE shop.nothing AS ();

-- Domains: of domains, arrays and composites, with several checks, a default and a check that is not validated
CREATE DOMAIN shop.positive AS integer DEFAULT 1 NOT NULL
    CONSTRAINT "is > 0" CHECK (VALUE > 0) CONSTRAINT "100 % odd" CHECK (VALUE <> 100);
CREATE DOMAIN shop.digit AS shop.positive DEFAULT 9 CHECK (VALUE < 10);
CREATE DOMAIN shop.email AS public.citext CHECK (VALUE OPERATOR(public.~) '^[^@\s]+@[^@]+$'::public.citext);
CREATE DOMAIN shop.scores AS smallint[] DEFAULT '{}' CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN shop.zipped AS shop.address CONSTRAINT has_zip CHECK (VALUE IS NULL OR (VALUE).zip IS NOT NULL);
CREATE DOMAIN shop.c_text AS varchar(20) COLLATE "C" DEFAULT 'it''s 5%';
ALTER DOMAIN shop.c_text ADD CONSTRAINT "later 'on'" CHECK (VALUE::text <> '') NOT VALID;
CREATE DOMAIN shop.moody AS shop.mood DEFAULT 'happy' CHECK (VALUE >= 'so''so');

-- Base types made of built-in functions, and a type that stays a shell
CREATE TYPE shop.unfinished;
CREATE TYPE shop.cents;
CREATE FUNCTION shop.cents_in(cstring) RETURNS shop.cents LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION shop.cents_out(shop.cents) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION shop.cents_recv(internal) RETURNS shop.cents LANGUAGE internal IMMUTABLE STRICT AS 'int4recv';
CREATE FUNCTION shop.cents_send(shop.cents) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE shop.cents (INPUT = shop.cents_in, OUTPUT = shop.cents_out, RECEIVE = shop.cents_recv,
    SEND = shop.cents_send, LIKE = integer, CATEGORY = 'N', DEFAULT = '7', DELIMITER = ';');
CREATE TYPE shop.label;
CREATE FUNCTION shop.label_in(cstring, oid, integer) RETURNS shop.label LANGUAGE internal IMMUTABLE STRICT
    AS 'varcharin';
CREATE FUNCTION shop.label_out(shop.label) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varcharout';
CREATE FUNCTION shop.label_mod_in(cstring[]) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodin';
CREATE FUNCTION shop.label_mod_out(integer) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varchartypmodout';
CREATE TYPE shop.label (INPUT = shop.label_in, OUTPUT = shop.label_out, TYPMOD_IN = shop.label_mod_in,
    TYPMOD_OUT = shop.label_mod_out, INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = extended,
    CATEGORY = 'x', PREFERRED = true, COLLATABLE = true, DEFAULT = 'a''%');

-- Range types
CREATE FUNCTION shop.time_diff(a time, b time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
    RETURN EXTRACT(epoch FROM a - b);
CREATE TYPE shop.time_range AS RANGE (
    SUBTYPE = time, SUBTYPE_DIFF = shop.time_diff, MULTIRANGE_TYPE_NAME = shop."Time.Multi Range %");
CREATE TYPE shop.text_range AS RANGE (SUBTYPE = text, SUBTYPE_OPCLASS = text_pattern_ops, COLLATION = "C");
CREATE TYPE shop.span;
CREATE FUNCTION shop.span_canonical(shop.span) RETURNS shop.span LANGUAGE internal IMMUTABLE STRICT
    AS 'int4range_canonical';
CREATE TYPE shop.span AS RANGE (
    SUBTYPE = integer, CANONICAL = shop.span_canonical, SUBTYPE_DIFF = int4range_subdiff);

-- Operators with all their options, operator classes and families
DO $do$ DECLARE it record; BEGIN
    FOR it IN SELECT * FROM (VALUES ('eq', '=', '=', '<>', 'eqsel', 'eqjoinsel, HASHES, MERGES'),
        ('ne', '<>', '<>', '=', 'neqsel', 'neqjoinsel'),
        ('lt', '<', '>', '>=', 'scalarltsel', 'scalarltjoinsel'),
        ('le', '<=', '>=', '>', 'scalarlesel', 'scalarlejoinsel'),
        ('gt', '>', '<', '<=', 'scalargtsel', 'scalargtjoinsel'),
        ('ge', '>=', '<=', '<', 'scalargesel', 'scalargejoinsel'))
        AS o (name, sign, commutator, negator, restrict, joins) LOOP
        EXECUTE format('CREATE FUNCTION shop.cents_%1$s(shop.cents, shop.cents) RETURNS boolean LANGUAGE internal '
            'IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS %2$L; CREATE FUNCTION shop.cents_%1$s(shop.cents, integer) '
            'RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS %2$L', it.name, 'int4' || it.name);
        EXECUTE format('CREATE OPERATOR shop.%s (FUNCTION = shop.cents_%s, LEFTARG = shop.cents, RIGHTARG = '
            'shop.cents, COMMUTATOR = OPERATOR(shop.%s), NEGATOR = OPERATOR(shop.%s), RESTRICT = %s, JOIN = %s)',
            it.sign, it.name, it.commutator, it.negator, it.restrict, it.joins);
    END LOOP;
    FOR it IN SELECT * FROM (VALUES ('cmp', 'shop.cents, shop.cents', 'integer', 'btint4cmp'),
        ('cmp', 'shop.cents, integer', 'integer', 'btint4cmp'), ('hash', 'shop.cents', 'integer', 'hashint4'),
        ('add', 'shop.cents, shop.cents', 'shop.cents', 'int4pl'),
        ('sub', 'shop.cents, shop.cents', 'shop.cents', 'int4mi'), ('minus', 'shop.cents', 'shop.cents', 'int4um'))
        AS f (name, arguments, type, body) LOOP
        EXECUTE format('CREATE FUNCTION shop.cents_%s(%s) RETURNS %s LANGUAGE internal IMMUTABLE STRICT AS %L',
            it.name, it.arguments, it.type, it.body);
    END LOOP;
END $do$;
CREATE OPERATOR shop.< (FUNCTION = shop.cents_lt, LEFTARG = shop.cents, RIGHTARG = integer);
CREATE OPERATOR shop.%% (FUNCTION = shop.cents_add, LEFTARG = shop.cents, RIGHTARG = shop.cents,
    COMMUTATOR = OPERATOR(shop.%%));
CREATE OPERATOR shop.@#@ (FUNCTION = shop.cents_minus, RIGHTARG = shop.cents);
CREATE OPERATOR CLASS shop.cents_ops DEFAULT FOR TYPE shop.cents USING btree AS
    OPERATOR 1 shop.<, OPERATOR 2 shop.<=, OPERATOR 3 shop.=, OPERATOR 4 shop.>=, OPERATOR 5 shop.>,
    FUNCTION 1 shop.cents_cmp(shop.cents, shop.cents), FUNCTION 4 btequalimage(oid);
ALTER OPERATOR FAMILY shop.cents_ops USING btree ADD
    OPERATOR 1 shop.< (shop.cents, integer), FUNCTION 1 (shop.cents, integer) shop.cents_cmp(shop.cents, integer);
CREATE OPERATOR FAMILY "select"."Family %" USING hash;
CREATE OPERATOR CLASS "select"."Class %" DEFAULT FOR TYPE shop.cents USING hash FAMILY "select"."Family %" AS
    OPERATOR 1 shop.=, FUNCTION 1 shop.cents_hash(shop.cents);
CREATE OPERATOR CLASS shop.near_ops FOR TYPE point USING gist AS
    OPERATOR 1 <<(point, point), OPERATOR 15 <->(point, point) FOR ORDER BY float_ops, STORAGE box,
    FUNCTION 1 gist_point_consistent(internal, point, smallint, oid, internal),
    FUNCTION 2 gist_box_union(internal, internal), FUNCTION 3 gist_point_compress(internal),
    FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal),
    FUNCTION 7 gist_box_same(box, box, internal), FUNCTION 9 gist_point_fetch(internal),
    FUNCTION 8 gist_point_distance(internal, point, smallint, oid, internal);

-- Casts of all kinds
CREATE CAST (shop.cents AS integer) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (integer AS shop.cents) WITHOUT FUNCTION;
CREATE CAST (shop.label AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS shop.mood) WITH INOUT AS ASSIGNMENT;
CREATE FUNCTION shop.label(shop.label, integer, boolean) RETURNS shop.label LANGUAGE internal IMMUTABLE STRICT
    AS 'varchar';
CREATE CAST (shop.label AS shop.label) WITH FUNCTION shop.label(shop.label, integer, boolean) AS IMPLICIT;
CREATE FUNCTION shop.as_text(shop.money_pair) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN ($1).amount || ' ' || ($1).currency;
CREATE CAST (shop.money_pair AS text) WITH FUNCTION shop.as_text(shop.money_pair) AS ASSIGNMENT;

-- Aggregates of all kinds
CREATE AGGREGATE shop.total(amount shop.cents) (
    SFUNC = shop.cents_add, STYPE = shop.cents, INITCOND = '0', COMBINEFUNC = shop.cents_add, PARALLEL = SAFE,
    MSFUNC = shop.cents_add, MINVFUNC = shop.cents_sub, MSTYPE = shop.cents, MINITCOND = '0', MSSPACE = 8);
CREATE FUNCTION shop.cents_smaller(shop.cents, shop.cents) RETURNS shop.cents LANGUAGE internal IMMUTABLE STRICT
    AS 'int4smaller';
CREATE AGGREGATE shop.min(shop.cents) (SFUNC = shop.cents_smaller, STYPE = shop.cents, SORTOP = OPERATOR(shop.<));
CREATE AGGREGATE shop.mean(numeric) (SFUNC = numeric_avg_accum, STYPE = internal, SSPACE = 128,
    FINALFUNC = numeric_avg, FINALFUNC_MODIFY = READ_WRITE, COMBINEFUNC = numeric_avg_combine,
    SERIALFUNC = numeric_avg_serialize, DESERIALFUNC = numeric_avg_deserialize, PARALLEL = RESTRICTED);
CREATE AGGREGATE shop."Count %"(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE shop.joined(text, text) (SFUNC = string_agg_transfn, STYPE = internal, FINALFUNC = string_agg_finalfn);
CREATE FUNCTION shop.append_all(anyarray, VARIADIC anyarray) RETURNS anyarray LANGUAGE internal AS 'array_cat';
CREATE AGGREGATE shop.collected(VARIADIC items anyarray) (SFUNC = shop.append_all, STYPE = anyarray, INITCOND = '{}');
CREATE AGGREGATE shop.middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = SHAREABLE);
CREATE AGGREGATE shop.place(VARIADIC "any" ORDER BY VARIADIC "any") (
    SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);

-- Languages, transforms and access methods
CREATE FUNCTION shop.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION shop.inliner(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION shop.validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE "feature % language" HANDLER shop.handler INLINE shop.inliner VALIDATOR shop.validator;
CREATE TRANSFORM FOR shop.cents LANGUAGE sql (
    FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION shop.cents_recv(internal));
CREATE ACCESS METHOD feature_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD "feature % btree" TYPE INDEX HANDLER bthandler;
CREATE OPERATOR CLASS shop.other_int_ops DEFAULT FOR TYPE integer USING "feature % btree" AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(integer, integer);

-- Text search
CREATE TEXT SEARCH PARSER shop.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
    HEADLINE = prsd_headline, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE shop.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY shop.simple_words (TEMPLATE = shop.template, STOPWORDS = english, Accept = false);
CREATE TEXT SEARCH DICTIONARY "select"."Stems %" (TEMPLATE = pg_catalog.snowball, LANGUAGE = english);
CREATE TEXT SEARCH CONFIGURATION shop.config (PARSER = shop.parser);
ALTER TEXT SEARCH CONFIGURATION shop.config ADD MAPPING FOR asciiword, word WITH shop.simple_words, "select"."Stems %";
ALTER TEXT SEARCH CONFIGURATION shop.config ADD MAPPING FOR int, email WITH pg_catalog.simple;
CREATE TEXT SEARCH CONFIGURATION "select"."Config %" (COPY = pg_catalog.english);

-- Functions with every option
CREATE FUNCTION shop.slug(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(regexp_replace(value, '[^a-z0-9%]+', '-', 'gi'));
CREATE FUNCTION shop.careful(text, text DEFAULT 'it''s %s :x {}') RETURNS text LANGUAGE plpgsql
    STABLE STRICT SECURITY DEFINER LEAKPROOF PARALLEL RESTRICTED COST 42
    SET search_path = shop, "Ext. ""q"" %x", pg_temp SET work_mem = '8MB' SET "feature.odd" = 'a, ''b'' %'
    SET timezone TO 'UTC' AS $$BEGIN RETURN $1 || $2; END$$;
CREATE FUNCTION shop.numbers(IN n integer, OUT a integer, OUT "b %" text) RETURNS SETOF record LANGUAGE sql
    ROWS 7 COST 3 AS $$SELECT g, 'n' || g FROM generate_series(1, n) g$$;
CREATE FUNCTION shop.as_table(integer = 1, n integer = 2, VARIADIC more integer[] DEFAULT '{3,4}')
    RETURNS TABLE ("select" integer, "user" text[]) LANGUAGE sql AS 'SELECT $1 + n, more::text[]';
CREATE FUNCTION shop.both_ways(INOUT a integer, INOUT b text DEFAULT NULL) LANGUAGE plpgsql AS $$BEGIN b := a; END$$;
CREATE FUNCTION shop.first_of(anyarray) RETURNS anyelement LANGUAGE sql IMMUTABLE AS 'SELECT $1[1]';
CREATE FUNCTION shop.compatible(anycompatible, anycompatiblerange) RETURNS anycompatiblemultirange LANGUAGE sql
    AS 'SELECT multirange($2)';
CREATE FUNCTION shop.overload() RETURNS integer LANGUAGE sql RETURN 1;
CREATE FUNCTION shop.overload(integer) RETURNS integer LANGUAGE sql RETURN $1;
CREATE FUNCTION shop.overload(text, VARIADIC "any") RETURNS integer LANGUAGE internal STABLE AS 'pg_num_nulls';
CREATE FUNCTION shop.upper(text) RETURNS text LANGUAGE internal IMMUTABLE STRICT AS 'upper';
CREATE FUNCTION shop.windowed() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number';
CREATE FUNCTION shop.helped(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT
    SUPPORT textlike_support AS 'textlike';
CREATE FUNCTION shop.many(n float8) RETURNS SETOF float8 LANGUAGE c VOLATILE STRICT ROWS 5
    AS '$libdir/tablefunc', 'normal_rand';
CREATE FUNCTION shop.transformed(shop.cents) RETURNS integer LANGUAGE sql TRANSFORM FOR TYPE shop.cents
    AS 'SELECT $1::integer';
CREATE FUNCTION shop.other_language(INOUT n integer) LANGUAGE "feature % language" AS 'BEGIN n := n + 1; END';
CREATE FUNCTION shop.labels(shop.label, shop.time_range[], shop.digit, public.citext, "Ext. ""q"" %x".ltree)
    RETURNS ext.hstore LANGUAGE sql RETURN ext.hstore($1::text, $5::text) OPERATOR(ext.||) ext.hstore('a', 'b');
CREATE FUNCTION shop.pivot() RETURNS SETOF "Ext. ""q"" %x".tablefunc_crosstab_2 LANGUAGE sql
    AS $$SELECT * FROM "Ext. ""q"" %x".crosstab2('SELECT ''r'', ''c'', ''%''')$$;
CREATE PROCEDURE shop.work(IN a integer, OUT b integer, INOUT c text DEFAULT '%', VARIADIC d text[] DEFAULT '{}')
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$BEGIN b := a; COMMIT; END$$;
CREATE PROCEDURE shop.atomic_work(a integer) LANGUAGE sql BEGIN ATOMIC SELECT a; SELECT 'b;--%'; END;

-- Sequences with all options
CREATE SEQUENCE shop.codes AS smallint INCREMENT BY -3 MINVALUE -3000 MAXVALUE -1 START WITH -1 CACHE 1 CYCLE;
CREATE SEQUENCE shop.plain_sequence;
CREATE SEQUENCE shop.big AS bigint INCREMENT 1000 MINVALUE -5 START 5 MAXVALUE 9223372036854775806 CACHE 50 NO CYCLE;
CREATE UNLOGGED SEQUENCE shop.unlogged_sequence AS integer;
CREATE SEQUENCE shop.owned_sequence START 7;
CREATE FUNCTION shop.next_code() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN 'c' || nextval('shop.codes'); END$$;

-- A table of every built-in type
CREATE TABLE shop.all_types (
    a smallint, b integer, c bigint, d numeric, e numeric(10, 2), f numeric(3, -2), g numeric(2, 5), h real, i float8,
    j money, k "char", l char(3), m varchar(5), n text, o name, p bytea, q bit(3), r bit varying(5), s boolean, t date,
    u time(2), v timetz, w timestamp(3), x timestamptz(0), y interval, z interval year to month, aa interval second(2),
    ab interval(4), ac uuid, ad inet, ae cidr, af macaddr, ag macaddr8, ah point, ai line, aj lseg, ak box, al path,
    am polygon, an circle, ao json, ap jsonb, aq jsonpath, ar tsvector, "as" tsquery, at int4range, au nummultirange,
    av integer[], aw text[][], ax oid, ay regclass, az regtype, ba regprocedure, bb xid8, bc pg_lsn, bd xml, be char,
    bf char(4)[], bg timestamp(1) without time zone[], bh shop.time_range, bi shop."Time.Multi Range %", bj shop.span,
    bk shop.text_range, bl shop.label(5), bm shop.cents[], bn shop.email, bo shop.scores, bp shop.zipped,
    bq shop.moody[], br ext.hstore, bs "Ext. ""q"" %x".ltree, bt "Ext. ""q"" %x".lquery,
    bu ext.query_int, bv ext.gtrgm, bw shop.nothing);

-- Defaults, identity, serial, generated columns, storage and statistics of columns
CREATE TABLE shop.customer (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 10 MAXVALUE 100000 CACHE 1 CYCLE) PRIMARY KEY,
    code text DEFAULT shop.next_code() NOT NULL, gone integer, email shop.email,
    mood shop.mood DEFAULT 'so''so' NOT NULL, home shop.address, others shop.address[] DEFAULT ARRAY[]::shop.address[],
    attributes ext.hstore DEFAULT '"a %s"=>"1"', path "Ext. ""q"" %x".ltree DEFAULT 'top.of',
    balance shop.cents DEFAULT '0', full_name varchar(40) COLLATE shop.c_copy NOT NULL,
    slug text GENERATED ALWAYS AS (shop.slug(full_name)) STORED,
    words tsvector GENERATED ALWAYS AS (to_tsvector('shop.config', full_name)) STORED,
    since timestamptz DEFAULT CURRENT_TIMESTAMP, whose name DEFAULT CURRENT_USER,
    long_one text COMPRESSION pglz DEFAULT repeat('x', 3),
    CONSTRAINT "it's a % 'check'" CHECK (shop.slug(full_name) <> 'x' AND code <> '%s'));
ALTER TABLE shop.customer DROP COLUMN gone;
ALTER TABLE shop.customer
    ADD CONSTRAINT positive_later CHECK (balance OPERATOR(shop.>=) '0'::shop.cents) NOT VALID,
    ADD CONSTRAINT only_here CHECK (since > '-infinity') NO INHERIT,
    ALTER code SET STORAGE EXTERNAL, ALTER home SET STORAGE MAIN, ALTER path SET STORAGE PLAIN,
    ALTER code SET COMPRESSION pglz, ALTER email SET STATISTICS 500, ALTER slug SET STATISTICS 0,
    ALTER code SET (n_distinct = -0.5, n_distinct_inherited = 100);
CREATE TABLE shop.product (
    id serial PRIMARY KEY, small smallserial, large bigserial NOT NULL UNIQUE,
    by_default bigint GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME shop."Identity %s" INCREMENT BY -1 CYCLE),
    "dot.ted ""column"" %s" integer DEFAULT currval('shop.plain_sequence'::regclass),
    by_name bigint DEFAULT nextval('shop.plain_sequence'::text), place regclass DEFAULT 'shop.customer'::regclass,
    price numeric DEFAULT -1.50 CHECK (price <> 0 OR price IS NULL),
    texts text[] DEFAULT ARRAY['a', E'b\n\\', 'c''%']::text[], note text DEFAULT (('a' || U&'\2028') || E'\r\n\t'),
    day date DEFAULT (now() AT TIME ZONE 'UTC')::date, length interval DEFAULT '1 mon 2 days -03:00:00',
    doubled numeric GENERATED ALWAYS AS (price * 2 + length(COALESCE(note, '%s'))) STORED,
    document jsonb DEFAULT '{"a": [1, "%s", "''"], ":x": {}}' NOT NULL,
    tags text[], body text, at point, span shop.span, address inet);
ALTER SEQUENCE shop.product_small_seq RENAME TO "Renamed sequence %";
ALTER SEQUENCE shop.owned_sequence OWNED BY shop.product.price;
ALTER TABLE shop.product ALTER large DROP DEFAULT, ALTER large ADD GENERATED ALWAYS AS IDENTITY (CACHE 1 START 3);
CREATE TABLE shop."order" (
    "select" integer, "user" integer, line smallint DEFAULT 1, customer integer, product integer, happened timestamptz,
    state varchar(10) CHECK (state IN ('new', 'paid', '100%')), fax char(10) CHECK (fax BETWEEN '0' AND '9'),
    PRIMARY KEY ("select", line) INCLUDE (customer) WITH (fillfactor = 90) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "Unique %s" UNIQUE NULLS NOT DISTINCT (customer, product) DEFERRABLE INITIALLY IMMEDIATE,
    CONSTRAINT second_key UNIQUE (line, "user") INCLUDE (happened), UNIQUE ("user"));
CREATE TABLE shop.booking (
    room integer NOT NULL, during tsrange NOT NULL, area box, dead boolean DEFAULT false, price shop.positive,
    CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (NOT dead)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "area %" EXCLUDE USING gist (area WITH &&) INCLUDE (room) WITH (fillfactor = 70)
        DEFERRABLE INITIALLY IMMEDIATE,
    EXCLUDE USING btree ((room + 1) WITH =));

-- Foreign keys: all actions, of many columns, to itself, in circles
CREATE TABLE shop.item (
    id integer PRIMARY KEY, "user" integer, line smallint, tenant integer, parent integer, twin integer, other integer,
    UNIQUE (tenant, id),
    CONSTRAINT "to order %s" FOREIGN KEY ("user", line) REFERENCES shop."order" ("user", line)
        MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL,
    CONSTRAINT in_tenant FOREIGN KEY (tenant, parent) REFERENCES shop.item (tenant, id)
        ON DELETE SET NULL (parent) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT with_default FOREIGN KEY (tenant, twin) REFERENCES shop.item (tenant, id)
        ON DELETE SET DEFAULT (twin) ON UPDATE SET DEFAULT DEFERRABLE,
    FOREIGN KEY (parent) REFERENCES shop.item ON DELETE RESTRICT ON UPDATE RESTRICT,
    CONSTRAINT "to customer" FOREIGN KEY (other) REFERENCES shop.customer);
CREATE TABLE "select"."user" (
    id integer PRIMARY KEY, "user" integer REFERENCES "select"."user" ON DELETE CASCADE, favourite integer);
CREATE TABLE shop.favourite (id integer PRIMARY KEY, of_user integer NOT NULL);
ALTER TABLE shop.favourite ADD CONSTRAINT circle_1 FOREIGN KEY (of_user) REFERENCES "select"."user"
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE "select"."user" ADD CONSTRAINT circle_2 FOREIGN KEY (favourite) REFERENCES shop.favourite
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE shop.favourite ADD CONSTRAINT "not valid %" FOREIGN KEY (id) REFERENCES "select"."user" NOT VALID;

-- Inheritance: from several parents, with defaults and constraints of its own and inherited ones
CREATE TABLE shop.named (
    id integer DEFAULT 1 NOT NULL, name text DEFAULT 'parent', extra text,
    CONSTRAINT named_check CHECK (name <> ''), CONSTRAINT no_child CHECK (id > 0) NO INHERIT);
CREATE TABLE shop.priced (name text NOT NULL, price numeric(8, 2) DEFAULT 5, CONSTRAINT named_check CHECK (name <> ''));
CREATE TABLE shop.child (
    name text DEFAULT 'child', own integer, id integer DEFAULT NULL, CONSTRAINT own_check CHECK (own > id), UNIQUE (id),
    CONSTRAINT named_check CHECK (name <> '')) INHERITS (shop.named, shop.priced);
CREATE TABLE shop.grandchild (extra text DEFAULT 'g %s' NOT NULL) INHERITS (shop.child) WITH (fillfactor = 50);
CREATE TABLE shop.late_child (zero text, id integer NOT NULL, name text DEFAULT 'late', extra text, more text,
    CONSTRAINT named_check CHECK (name <> ''));
ALTER TABLE shop.late_child DROP COLUMN zero, INHERIT shop.named;
CREATE TABLE shop.generating (a integer, b integer GENERATED ALWAYS AS (a + 1) STORED);
CREATE TABLE shop.generated_child (c integer GENERATED ALWAYS AS (a - 1) STORED) INHERITS (shop.generating);

-- Other ways to make tables
CREATE TABLE shop.typed OF shop.address (
    zip WITH OPTIONS DEFAULT 'z' NOT NULL, CONSTRAINT typed_key UNIQUE (zip), CHECK (zip <> '%'));
CREATE TABLE shop.alike (LIKE shop.product INCLUDING ALL);
CREATE UNLOGGED TABLE shop.fast (id integer GENERATED ALWAYS AS IDENTITY, s serial) WITH (fillfactor = 40);
CREATE TABLE shop.no_columns ();
CREATE TABLE shop.other_heap (id integer PRIMARY KEY, note text) USING feature_heap;
CREATE TABLE shop.tuned (id integer NOT NULL, a text, b text) WITH (fillfactor = 77, parallel_workers = 3,
    autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = -1,
    log_autovacuum_min_duration = 0, toast_tuple_target = 4000, user_catalog_table = true, vacuum_index_cleanup = auto,
    vacuum_truncate = false, toast.autovacuum_enabled = false, toast.vacuum_truncate = false,
    toast.autovacuum_freeze_max_age = 200000000);

-- Partitions of every kind
CREATE TABLE shop.measure (
    id bigint NOT NULL, at timestamp NOT NULL, kind text DEFAULT 'k' NOT NULL, value numeric CHECK (value > -1000),
    CONSTRAINT measure_key PRIMARY KEY (id, at, kind)) PARTITION BY RANGE (at);
CREATE TABLE shop.measure_2024 PARTITION OF shop.measure (
    kind DEFAULT 'own %s', CONSTRAINT own_check CHECK (value < 5000), CONSTRAINT own_unique UNIQUE (id))
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') WITH (fillfactor = 60);
CREATE TABLE shop.measure_2025 PARTITION OF shop.measure FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (kind);
CREATE TABLE shop."Measure 2025 'a' %" PARTITION OF shop.measure_2025 FOR VALUES IN ('a', 'it''s', '%s');
CREATE TABLE shop.measure_2025_rest PARTITION OF shop.measure_2025 DEFAULT;
CREATE TABLE "select".measure_rest (
    value numeric CHECK (value > -1000), gone text, kind text DEFAULT 'k' NOT NULL, at timestamp NOT NULL,
    id bigint NOT NULL);
ALTER TABLE "select".measure_rest DROP COLUMN gone,
    ADD CONSTRAINT measure_value_check CHECK (value > -1000), DROP CONSTRAINT measure_rest_value_check;
ALTER TABLE shop.measure ATTACH PARTITION "select".measure_rest DEFAULT;
CREATE TABLE shop.measure_detached PARTITION OF shop.measure FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
ALTER TABLE shop.measure DETACH PARTITION shop.measure_detached;
CREATE TABLE shop.hashed (id integer, name text COLLATE "C", data text) PARTITION BY HASH (id, name text_ops);
CREATE TABLE shop.hashed_0 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.hashed_1 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE shop.hashed_3 PARTITION OF shop.hashed FOR VALUES WITH (MODULUS 4, REMAINDER 3) USING feature_heap;
CREATE TABLE shop.wide (a integer, b text, c date) PARTITION BY RANGE (a, lower(b) COLLATE "POSIX", ((c - 1)));
CREATE TABLE shop.wide_1 PARTITION OF shop.wide FOR VALUES FROM (MINVALUE, MINVALUE, MINVALUE) TO (10, 'm', MAXVALUE);
CREATE TABLE shop.wide_2 PARTITION OF shop.wide FOR VALUES FROM (10, 'n', '2024-01-01') TO (20, MAXVALUE, MAXVALUE);
CREATE TABLE shop.by_slug (id integer REFERENCES shop.customer, name text) PARTITION BY LIST (shop.slug(name));
CREATE TABLE shop.by_slug_x PARTITION OF shop.by_slug FOR VALUES IN ('x', 'y%');
CREATE TABLE shop.by_mood (mood shop.mood, flag boolean, n integer) PARTITION BY LIST (mood);
CREATE TABLE shop.by_mood_1 PARTITION OF shop.by_mood FOR VALUES IN ('so''so', '100 % {} :x %s', NULL);
ALTER TABLE shop.hashed ADD CONSTRAINT to_measure FOREIGN KEY (id) REFERENCES shop.customer (id) ON DELETE CASCADE;
CREATE TABLE shop.points_at_parts (
    id bigint, at timestamp, kind text, FOREIGN KEY (id, at, kind) REFERENCES shop.measure);
CREATE INDEX measure_all ON shop.measure (kind, value DESC) WHERE value > 0;
CREATE INDEX measure_own ON shop.measure_2024 USING brin (at);
CREATE INDEX measure_only ON ONLY shop.measure (value);
CREATE INDEX measure_2024_value ON shop.measure_2024 (value);
ALTER INDEX shop.measure_only ATTACH PARTITION shop.measure_2024_value;
CREATE UNIQUE INDEX hashed_unique ON shop.hashed (id, name COLLATE "C", data);
CREATE INDEX wide_expression ON shop.wide (lower(b), (a + 1) NULLS FIRST);
ALTER TABLE ONLY shop.wide_1 REPLICA IDENTITY NOTHING;

-- Indexes of every kind and option
CREATE INDEX "Index %s ""q""" ON shop.customer (lower(full_name) COLLATE "C" text_pattern_ops DESC NULLS LAST, code ASC
    NULLS FIRST) INCLUDE (email, mood) WITH (fillfactor = 70, deduplicate_items = off) WHERE code <> 'it''s %';
CREATE UNIQUE INDEX customer_slug ON shop.customer (shop.slug(full_name), (balance IS NULL)) NULLS NOT DISTINCT;
CREATE INDEX customer_words ON shop.customer USING gin (words) WITH (fastupdate = off, gin_pending_list_limit = 128);
CREATE INDEX customer_home ON shop.customer (((home)."Street %s"), ((others[1]).zip) DESC);
CREATE INDEX customer_trigrams ON shop.customer USING gin (full_name ext.gin_trgm_ops, slug ext.gin_trgm_ops);
CREATE INDEX customer_similar ON shop.customer USING gist (slug ext.gist_trgm_ops (siglen = 32)) WITH (buffering = on);
CREATE INDEX customer_hstore ON shop.customer USING gist (attributes ext.gist_hstore_ops (siglen = 64), path);
CREATE INDEX customer_hash ON shop.customer USING hash (slug) WITH (fillfactor = 60);
CREATE INDEX customer_balance ON shop.customer (balance, mood) WHERE mood = ANY (ARRAY['happy', 'so''so']::shop.mood[]);
CREATE INDEX customer_path ON shop.customer (path) WHERE path OPERATOR("Ext. ""q"" %x".<@) 'top'::"Ext. ""q"" %x".ltree;
CREATE INDEX product_path ON shop.product USING gin (document jsonb_path_ops);
CREATE INDEX product_document ON shop.product USING gin (document, tags);
CREATE INDEX product_key ON shop.product ((document ->> ':x'), (document #> '{a,%}')) WHERE document ? 'a';
CREATE INDEX product_brin ON shop.product USING brin (price numeric_minmax_multi_ops (values_per_range = 16),
    day date_bloom_ops (n_distinct_per_range = 100, false_positive_rate = 0.05), span, address inet_inclusion_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX product_spgist ON shop.product USING spgist (at kd_point_ops);
CREATE INDEX product_quad ON shop.product USING spgist (body) WITH (fillfactor = 90);
CREATE INDEX product_inet ON shop.product USING spgist (address);
CREATE INDEX product_near ON shop.product USING gist (at shop.near_ops);
CREATE INDEX product_case ON shop.product ((CASE WHEN price > 1 THEN 'a %' WHEN price IS NULL THEN NULL ELSE ':x' END));
ALTER INDEX shop.customer_home ALTER COLUMN 1 SET STATISTICS 300, ALTER COLUMN 2 SET STATISTICS 10;
CREATE INDEX tuned_cluster ON shop.tuned (a);
CREATE UNIQUE INDEX tuned_identity ON shop.tuned (id);
ALTER TABLE shop.tuned CLUSTER ON tuned_cluster, REPLICA IDENTITY USING INDEX tuned_identity;
ALTER TABLE shop.booking REPLICA IDENTITY FULL;
ALTER TABLE shop.product REPLICA IDENTITY NOTHING, CLUSTER ON product_pkey;
ALTER TABLE shop.all_types REPLICA IDENTITY FULL;

-- Statistics objects
CREATE STATISTICS shop.two_columns (ndistinct) ON code, mood FROM shop.customer;
CREATE STATISTICS shop."Statistics %s" (dependencies, mcv) ON code, mood, lower(full_name) FROM shop.customer;
CREATE STATISTICS "select".all_kinds ON price, day, (price * 2), (note || '%') FROM shop.product;
CREATE STATISTICS shop.one_expression ON (shop.slug(note)) FROM shop.product;
CREATE STATISTICS shop.of_parts ON kind, value FROM shop.measure;
ALTER STATISTICS shop.two_columns SET STATISTICS 77;

-- Views with options, odd column names, functions, whole rows, and names that changed after the view was made
CREATE VIEW shop.barrier WITH (security_barrier = true, check_option = local) AS
    SELECT id, code, mood FROM shop.customer WHERE mood <> 'happy';
CREATE VIEW shop.invoker WITH (security_invoker = true) AS
    SELECT * FROM shop.barrier WHERE id > 0 WITH CASCADED CHECK OPTION;
CREATE VIEW "select"."View %s ""q"" {}" ("Column %s", ":x", "{}", "select", "new
line", "back\slash", U&"ls \2028", "?column?") AS SELECT 1, 'a'::text, NULL, 2.5, 'x'::"char", E'\\', U&'\2028', true;
CREATE VIEW shop.functions AS
    SELECT n.a, n."b %", t."select", t."user", o.g, o.ordinality, r.x, r.y, m.*, k.key, k.value, f.f,
        x.a AS xa, x.b AS xb
    FROM shop.numbers(3) n, shop.as_table(1, n => 2, VARIADIC more => ARRAY[5, 6]) t,
        generate_series(1, 2) WITH ORDINALITY o (g, ordinality),
        ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b'])) r (x, y),
        unnest(ARRAY[1], ARRAY['%'], '{}'::shop.mood[]) m (m1, m2, m3),
        LATERAL jsonb_each('{"a": 1}') k, shop.first_of(ARRAY[1.5]) f,
        "Ext. ""q"" %x".crosstab('SELECT ''r''::text, ''c''::text, ''%''::text') AS x (a text, b text COLLATE "C");
CREATE VIEW shop.whole_rows AS SELECT c, ROW(c.*)::text AS pair, c.*::text AS words, (c.home).zip,
    c.others[1:2] AS some, (c.others[1]).tags[2] AS tag, ROW(1, 'a')::shop.money_pair AS built,
    (ROW(2, 'b')::shop.money_pair).amount FROM shop.customer c;
CREATE VIEW shop.with_queries AS WITH RECURSIVE
    a (n, "user") AS (VALUES (1, NULL::integer) UNION ALL SELECT u.id, u."user" FROM a
        JOIN "select"."user" u ON u."user" = a.n)
        SEARCH DEPTH FIRST BY n SET "order %" CYCLE n SET looped TO 1 DEFAULT 0 USING way,
    b AS MATERIALIZED (SELECT 2 AS two), c AS NOT MATERIALIZED (SELECT two + 1 AS three FROM b)
    SELECT a.n, a.looped, a.way::text, c.three FROM a, c ORDER BY a."order %";
CREATE RECURSIVE VIEW shop.counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE VIEW shop.windows AS SELECT id, row_number() OVER w AS place,
    shop.windowed() OVER (w ROWS UNBOUNDED PRECEDING) AS own,
    sum(price) FILTER (WHERE price > 0) OVER (PARTITION BY day ORDER BY id DESC NULLS LAST
        RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE TIES) AS near,
    lag(price, 1, 0.0) OVER (ORDER BY id GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE CURRENT ROW) AS before
    FROM shop.product WINDOW w AS (PARTITION BY price ORDER BY id), other AS (ORDER BY day);
CREATE VIEW shop.grouped AS
    SELECT day, price, body, GROUPING(day, price) AS level, count(*),
        count(DISTINCT note) FILTER (WHERE note <> '%') AS notes, shop."Count %"(*),
        array_agg(note ORDER BY id DESC, note COLLATE "C") AS notes_2, string_agg(DISTINCT note, ', %s' ORDER BY note),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY price DESC), shop.place(3, 'a') WITHIN GROUP (ORDER BY id, body),
        shop.middle(0.25) WITHIN GROUP (ORDER BY id), mode() WITHIN GROUP (ORDER BY body COLLATE "C")
    FROM shop.product GROUP BY GROUPING SETS ((day, price), ROLLUP (body, day), CUBE (price), ())
    HAVING count(*) > 0 AND max(price) IS DISTINCT FROM 5;
CREATE VIEW shop.by_key AS SELECT c.id, c.code, c.full_name, count(*) AS n FROM shop.customer c GROUP BY c.id;
CREATE VIEW shop.arms AS SELECT 1 AS a, NULL AS b, 'x' AS c, 1.5 AS d UNION ALL SELECT NULL, NULL, NULL, NULL
    UNION (SELECT 2, 'b', 'c', 4 EXCEPT SELECT 3, 'c', NULL, NULL) INTERSECT ALL
    SELECT 4, NULL, NULL, 2 ORDER BY 1 DESC, 2;
CREATE VIEW shop."values" AS VALUES (1, 'a %', NULL), (2, 'b', now()), (3, E'c\n', '2024-01-01');
CREATE VIEW shop.varchars AS SELECT "user" FROM shop."order" o WHERE state IN ('new', '100%') AND fax NOT IN ('a', 'b')
    AND state LIKE 'a\%' ESCAPE '\' AND state NOT SIMILAR TO 'b_'
    AND (o."user", o.line) IN (SELECT 1, 2) AND state ~~* '%x%';
CREATE VIEW shop.expressions AS SELECT EXTRACT(year FROM since) AS y, EXTRACT(epoch FROM since - now()) AS s,
    since AT TIME ZONE 'Europe/Berlin' AS local, CASE mood WHEN 'happy' THEN 1 ELSE -1 END AS simple,
    CASE WHEN code IS NULL THEN 'a' WHEN NOT code ~ '^%s' THEN 'b' END AS searched, COALESCE(code, '') AS
    coalesced, NULLIF(id, -1) AS ni, GREATEST(id, 2, 3) AS g, CURRENT_TIMESTAMP(2) AS ct, LOCALTIME AS lt,
    SESSION_USER AS su, CURRENT_CATALOG AS cc, CURRENT_SCHEMA AS cs, id BETWEEN SYMMETRIC 5 AND 1 AS bs,
    (id, code) < (2, 'b') AS rc, (id IS NULL) IS NOT UNKNOWN AS un, id = ANY ('{1,2}') AS any_of,
    id <> ALL (ARRAY[1, 2]) AS all_of, EXISTS (SELECT 1 FROM shop.product p WHERE p.id = c.id) AS e,
    ARRAY(SELECT id FROM shop.product ORDER BY id LIMIT 3) AS ar, (SELECT max(id) FROM shop.product) AS sub,
    substring(code FROM 2 FOR 3) AS ss, substring(code SIMILAR 'a#"b#"' ESCAPE '#') AS si, position('%' IN code) AS po,
    overlay(code PLACING 'x' FROM 2) AS ov, trim(BOTH 'x' FROM code) AS tr, normalize(code, NFD) AS nf,
    code IS NFC NORMALIZED AS nn, (since, now()) OVERLAPS (now(), INTERVAL '1' DAY) AS ol, B'101' AS b, X'1F' AS x,
    E'a\n\'' AS q, INTERVAL '1:02' HOUR TO MINUTE AS iv, '1 day'::interval(2) AS iw, 'a' < 'b' COLLATE "C" AS co,
    -(-1) AS neg, (- 5) % 3 AS modulo, 2 ^ - 1 AS pw, !!'a'::tsquery AS ts, 1::bit(3) AS bt, 'now'::text::date AS da,
    '{"a": {"b": 1}}'::jsonb #>> '{a,b}' AS js, attributes OPERATOR(ext.->) 'a' AS hs, @ -5 AS ab,
    balance OPERATOR(shop.%%) balance AS tw, OPERATOR(shop.@#@) balance AS um, code::public.citext = 'X' AS ci,
    '$.a ? (@ > 1)'::jsonpath AS jp, 'infinity'::timestamptz AS inf, 'NaN'::float8 AS nan, 1e100 AS big,
    12345678901234567890 AS num, id::bigint::text AS bt2, concat_ws('%', VARIADIC ARRAY['a', code]) AS va,
    make_interval(hours => 2, secs => 1.5) AS na FROM shop.customer c;
CREATE VIEW shop.joins AS SELECT * FROM (shop.named a FULL JOIN shop.priced b USING (name) AS both_names)
    NATURAL LEFT JOIN (SELECT 1 AS id, 2 AS more) s CROSS JOIN LATERAL
    (SELECT a.id AS lateral_id, both_names.name AS n2) l
    RIGHT JOIN ONLY shop.child AS ch (c1, c2, c3, c4) ON ch.c1 = l.lateral_id AND ch.c2 <> '%';
CREATE VIEW shop.limited AS SELECT DISTINCT ON (price, lower(note)) price, note, id
    FROM shop.product TABLESAMPLE bernoulli (50) REPEATABLE (1)
    ORDER BY price USING >, lower(note) NULLS FIRST, id OFFSET 1 FETCH FIRST 2 ROWS WITH TIES;
CREATE VIEW shop.locking AS SELECT id FROM shop.named n WHERE id > 1 FOR NO KEY UPDATE OF n SKIP LOCKED;
CREATE VIEW shop.renamed AS SELECT a.x, a.y, b.z FROM (SELECT 1 AS x, 2 AS y) a
    JOIN (SELECT 1 AS x, 3 AS z) b USING (x);
CREATE TABLE shop.before_rename (one integer CONSTRAINT one_is_set NOT NULL, two integer, three serial);
CREATE VIEW shop.over_renamed AS SELECT b.one, c.two, b.three FROM shop.before_rename b
    JOIN shop.before_rename c USING (one);
ALTER TABLE shop.before_rename RENAME TO "After %s rename";
ALTER TABLE shop."After %s rename" RENAME one TO "uno %";
ALTER VIEW shop.over_renamed RENAME three TO "tres :x";
ALTER VIEW shop.over_renamed ALTER two SET DEFAULT 5;

-- Objects that depend on one another in circles
CREATE VIEW shop.circle_a AS SELECT 1 AS n;
CREATE VIEW shop.circle_b AS SELECT n FROM shop.circle_a;
CREATE OR REPLACE VIEW shop.circle_a AS SELECT n FROM shop.circle_b;
CREATE VIEW shop.self AS SELECT 1 AS n;
CREATE FUNCTION shop.of_self(shop.self) RETURNS integer LANGUAGE sql AS 'SELECT $1.n';
CREATE OR REPLACE VIEW shop.self AS SELECT shop.of_self(ROW(5)::shop.self) AS n;
CREATE TABLE shop.looped (id integer, note text, r integer DEFAULT 1);
CREATE FUNCTION shop.is_fine(shop.looped) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.id > 0';
CREATE FUNCTION shop.worth(shop.looped) RETURNS integer LANGUAGE sql IMMUTABLE RETURN COALESCE($1.id, 4);
ALTER TABLE shop.looped ADD CHECK (shop.is_fine(looped.*)), ALTER r SET DEFAULT shop.worth(NULL::shop.looped);
CREATE INDEX looped_worth ON shop.looped (shop.worth(looped.*)) WHERE shop.is_fine(looped.*);
CREATE TABLE shop.uses_rows (whole shop.looped, many "select"."user"[], n integer DEFAULT shop.worth(ROW(1, 'a', 2)));
CREATE FUNCTION shop.names_of(c shop.customer, "user" "select"."user" DEFAULT NULL) RETURNS SETOF shop.customer
    LANGUAGE sql STABLE ROWS 3 BEGIN ATOMIC SELECT * FROM shop.customer x WHERE x.id <> c.id AND "user" IS NULL; END;
CREATE FUNCTION shop.grouping_by_key() RETURNS TABLE (id integer, code text) LANGUAGE sql
    BEGIN ATOMIC SELECT c.id, c.code FROM shop.customer c GROUP BY c.id; END;
CREATE FUNCTION shop.over_view(OUT n bigint) LANGUAGE sql RETURN (SELECT sum(b.n) FROM shop.by_key b);
CREATE VIEW shop.over_function AS SELECT * FROM shop.grouping_by_key() g, shop.over_view() o;
CREATE FUNCTION shop.writes(a integer, b text DEFAULT '%s') RETURNS integer LANGUAGE sql BEGIN ATOMIC
    INSERT INTO shop.looped AS l (id, note) VALUES (a, b), (a + 1, DEFAULT) ON CONFLICT DO NOTHING;
    WITH gone AS (DELETE FROM shop.looped USING shop.named n WHERE looped.id = n.id RETURNING looped.*)
    UPDATE shop.looped SET (note, r) = (SELECT 'x %', g.r FROM gone g LIMIT 1), id = DEFAULT WHERE id = a RETURNING id;
END;

-- Materialised views, on one another
CREATE MATERIALIZED VIEW shop.stored WITH (fillfactor = 80, autovacuum_enabled = false) AS
    SELECT id, code, state FROM shop.customer LEFT JOIN shop."order" o ON o.customer = id
    WHERE state IN ('new', 'paid');
CREATE UNIQUE INDEX stored_id ON shop.stored (id);
CREATE INDEX stored_code ON shop.stored (lower(code) varchar_pattern_ops) WHERE code <> '%s';
CREATE MATERIALIZED VIEW shop."Stored %s" ("a %", b) USING feature_heap AS
    SELECT code, count(*) FROM shop.stored GROUP BY 1 WITH NO DATA;
CREATE MATERIALIZED VIEW shop.stored_key AS SELECT c.id, c.code, now() AS made FROM shop.customer c GROUP BY c.id;
CREATE STATISTICS shop.of_stored ON code, state FROM shop.stored;
ALTER MATERIALIZED VIEW shop.stored CLUSTER ON stored_id, ALTER code SET STATISTICS 33, ALTER code SET STORAGE EXTERNAL;

-- Rules of all kinds
CREATE TABLE shop.log (id integer GENERATED ALWAYS AS IDENTITY, what text, at integer DEFAULT 0);
CREATE VIEW shop.named_view AS SELECT id, name FROM shop.named;
CREATE RULE insert_it AS ON INSERT TO shop.named_view DO INSTEAD
    INSERT INTO shop.named (id, name) VALUES (new.id, COALESCE(new.name, '%s')) RETURNING id, name;
CREATE RULE update_it AS ON UPDATE TO shop.named_view WHERE old.id <> new.id DO INSTEAD
    (UPDATE shop.named SET id = new.id WHERE id = old.id; INSERT INTO shop.log (what) SELECT 'a ; b' || new.name);
CREATE RULE update_nothing AS ON UPDATE TO shop.named_view DO INSTEAD NOTHING;
CREATE RULE "Delete %s ""it""" AS ON DELETE TO shop.named_view DO INSTEAD DELETE FROM shop.named n USING shop.log l
    WHERE n.id = old.id AND l.what = ':x';
CREATE RULE also_log AS ON INSERT TO shop.log DO ALSO NOTIFY "Channel %s", 'it''s';
CREATE RULE never AS ON DELETE TO shop.log WHERE old.what = 'keep %' DO INSTEAD NOTHING;
CREATE RULE disabled AS ON UPDATE TO shop.log DO ALSO INSERT INTO shop.log (what) VALUES ('no') ON CONFLICT DO NOTHING;
CREATE RULE always AS ON UPDATE TO shop.log WHERE new.at > 5 DO ALSO SELECT new.what, old.*;
CREATE RULE replicated AS ON DELETE TO shop.log DO ALSO NOTHING;
ALTER TABLE shop.log DISABLE RULE disabled, ENABLE ALWAYS RULE always, ENABLE REPLICA RULE replicated;

-- Triggers of all kinds
CREATE FUNCTION shop.keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN COALESCE(new, old); END$$;
CREATE FUNCTION shop.pass() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF full_name, "code" ON shop.customer FOR EACH ROW
    WHEN (new.full_name <> 'it''s %' AND new.code IS NOT NULL)
    EXECUTE FUNCTION shop.keep('it''s', 'a "b" %s', ':x {}', E'back\\slash\n', '', '1', U&'\2028 $$');
CREATE TRIGGER "Trigger %s ""q""" AFTER UPDATE ON shop.customer FOR EACH ROW
    WHEN (old.balance OPERATOR(shop.<>) new.balance OR shop.slug(old.code) IS DISTINCT FROM new.slug)
    EXECUTE FUNCTION shop.pass();
CREATE TRIGGER statement_before BEFORE TRUNCATE ON shop.customer EXECUTE FUNCTION shop.pass();
CREATE TRIGGER with_tables AFTER UPDATE ON shop.product REFERENCING OLD TABLE AS "old %" NEW TABLE AS "select"
    FOR EACH STATEMENT EXECUTE FUNCTION shop.pass();
CREATE TRIGGER with_rows AFTER DELETE ON shop.product REFERENCING OLD TABLE AS gone FOR EACH ROW
    EXECUTE FUNCTION shop.pass();
CREATE CONSTRAINT TRIGGER checked AFTER INSERT OR DELETE ON shop.item FROM shop.customer DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (true) EXECUTE FUNCTION shop.pass('%');
CREATE CONSTRAINT TRIGGER now_checked AFTER UPDATE ON shop.item DEFERRABLE FOR EACH ROW EXECUTE FUNCTION shop.pass();
CREATE CONSTRAINT TRIGGER at_once AFTER UPDATE OF parent ON shop.item FOR EACH ROW EXECUTE FUNCTION shop.pass();
CREATE TRIGGER of_builtin BEFORE UPDATE ON shop.item FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TRIGGER disabled BEFORE DELETE ON shop.product FOR EACH ROW EXECUTE FUNCTION shop.keep();
CREATE TRIGGER replicated BEFORE DELETE ON shop.product FOR EACH ROW EXECUTE FUNCTION shop.keep();
CREATE TRIGGER always AFTER INSERT ON shop.product EXECUTE FUNCTION shop.pass();
ALTER TABLE shop.product DISABLE TRIGGER disabled, ENABLE REPLICA TRIGGER replicated, ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER on_parts BEFORE INSERT OR UPDATE ON shop.measure FOR EACH ROW WHEN (new.value > 0)
    EXECUTE FUNCTION shop.keep();
CREATE TRIGGER of_parts AFTER INSERT ON shop.measure REFERENCING NEW TABLE AS n EXECUTE FUNCTION shop.pass();
CREATE TRIGGER own_one AFTER DELETE ON shop.measure_2024 FOR EACH ROW EXECUTE FUNCTION shop.pass();
ALTER TABLE shop.measure_2024 DISABLE TRIGGER on_parts;
ALTER TABLE "select".measure_rest ENABLE ALWAYS TRIGGER on_parts;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON shop.over_renamed FOR EACH ROW
    EXECUTE FUNCTION shop.keep();
CREATE TRIGGER on_view AFTER INSERT ON shop.over_renamed FOR EACH STATEMENT EXECUTE FUNCTION shop.pass();

-- Row security
ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY;
ALTER TABLE "select"."user" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE shop.item FORCE ROW LEVEL SECURITY;
CREATE POLICY for_all ON shop.customer USING (code <> '%s') WITH CHECK (shop.slug(code) <> ':x');
CREATE POLICY "Read %s ""it""" ON shop.customer AS RESTRICTIVE FOR SELECT
    TO feature_reader, "feature_O'Dd ""Role"" %s" USING (whose = CURRENT_USER);
CREATE POLICY for_insert ON shop.customer FOR INSERT TO feature_writer WITH CHECK (mood = 'happy');
CREATE POLICY for_update ON shop.customer AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (true) WITH CHECK (id > 0);
CREATE POLICY for_delete ON shop.customer FOR DELETE TO CURRENT_USER, feature_writer
    USING (EXISTS (
        SELECT FROM shop.item i WHERE i.other = customer.id AND i.id IN (SELECT u.id FROM "select"."user" u)));
CREATE POLICY of_part ON shop.measure_2024 USING (pg_has_role('feature_owner', 'MEMBER'));

-- Foreign data: secrets all hold the text s3cr3t-
CREATE FUNCTION shop.check_options(text[], oid) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE FOREIGN DATA WRAPPER feature_bare OPTIONS (
    token 's3cr3t-1', url 'https://feature:s3cr3t-2@example.org/x?y=%41', "odd %s" 'it''s, "q" \ :x {}');
CREATE FOREIGN DATA WRAPPER "Wrapper %s ""q""" VALIDATOR shop.check_options
    OPTIONS (secret_key 's3cr3t-3', debug 'true');
CREATE SERVER "Server %s ""q""" TYPE 'type ''%''' VERSION '1.0' FOREIGN DATA WRAPPER feature_bare OPTIONS (
    password 's3cr3t-4', conninfo 'host=localhost password=s3cr3t-5 user=feature', api_key 's3cr3t-6');
CREATE SERVER feature_far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
    host 'localhost', port '1', dbname 'na''me %s', fetch_size '7', extensions 'hstore, ltree', updatable 'false');
CREATE SERVER feature_files FOREIGN DATA WRAPPER file_fdw;
CREATE USER MAPPING FOR PUBLIC SERVER feature_far OPTIONS (user 'all', password 's3cr3t-7');
CREATE USER MAPPING FOR CURRENT_USER SERVER feature_far OPTIONS (user 'super', password 's3cr3t-8 ''%s''',
    sslcert '/tmp/cert', sslkey '/tmp/key', sslpassword 's3cr3t-9', password_required 'false');
CREATE USER MAPPING FOR feature_owner SERVER feature_far OPTIONS (user 'o''wner', password 's3cr3t-10');
CREATE USER MAPPING FOR "feature_O'Dd ""Role"" %s" SERVER "Server %s ""q"""
    OPTIONS (access_token 's3cr3t-11', pin 's3cr3t-12');
CREATE USER MAPPING FOR PUBLIC SERVER "Server %s ""q""";
CREATE FOREIGN TABLE shop.far (
    id integer OPTIONS (column_name 'odd ''name'' %s') NOT NULL, at timestamp DEFAULT now(),
    note text COLLATE "C" DEFAULT '%s' CONSTRAINT is_short CHECK (length(note) < 9),
    doubled integer GENERATED ALWAYS AS (id * 2) STORED)
    SERVER feature_far OPTIONS (schema_name 'sche"ma', table_name 'ta''ble %s', use_remote_estimate 'true');
ALTER FOREIGN TABLE shop.far ALTER note SET STATISTICS 55, ALTER note SET (n_distinct = 3),
    ALTER note SET STORAGE EXTERNAL;
CREATE FOREIGN TABLE shop.lines (line text, number integer OPTIONS (force_null 'true'))
    SERVER feature_files OPTIONS (filename '/dev/null', format 'csv', delimiter ';', quote '''', null '%s');
CREATE FOREIGN TABLE shop.bare (a shop.cents OPTIONS (secret 's3cr3t-13', "Key %" 'x')) SERVER "Server %s ""q"""
    OPTIONS (url 'https://feature:s3cr3t-14@example.org', auth_token 's3cr3t-15',
    connection 'a=1;Password=s3cr3t-16;b=2');
CREATE FOREIGN TABLE shop.far_child (own integer) INHERITS (shop.generating)
    SERVER feature_files OPTIONS (filename '/dev/null');
CREATE TABLE shop.with_far (a integer, b text DEFAULT 'x') PARTITION BY LIST (a);
CREATE FOREIGN TABLE shop.far_part PARTITION OF shop.with_far (b DEFAULT 'y %') FOR VALUES IN (1, 2)
    SERVER feature_files OPTIONS (filename '/dev/null');
CREATE TRIGGER on_far BEFORE INSERT ON shop.far FOR EACH ROW EXECUTE FUNCTION shop.keep('%');

-- Odd names for objects of many kinds
CREATE SCHEMA "Odd.1 %s";
CREATE SCHEMA "odd ""2"" :x {}";
CREATE SCHEMA "odd\3 größe";
CREATE TABLE "odd ""2"" :x {}".plain (id integer, note text);
DO $do$ DECLARE n text; i integer := 0; BEGIN
    FOREACH n IN ARRAY ARRAY['select', 'user', 'Mixed Case', 'dot.ted', 'it''s', 'dou"ble', '%s', '100%', '%(x)s', ':x',
        '{}', '{x!r}', 'back\slash', E'new\nline', E'\ttab', E'car\rriage', 'größe 日本', E'\U0001F600',
        E'nel\u0085 ls\u2028', '$$', '-- no comment', '/* open', ';', ' space around ', '1', 'null', 'E''x''', '"',
        '\connect x', 'name; Type: TABLE', 'a_name_that_is_as_long_as_names_may_be_which_is_63_bytes_not_64',
        repeat('ü', 31) || 'x'] LOOP
        i := i + 1;
        EXECUTE format('CREATE TABLE "Odd.1 %%s".%1$I (%1$I integer DEFAULT 1 CONSTRAINT %1$I CHECK (%1$I > 0), '
            'x text GENERATED ALWAYS AS (%1$I || %1$L) STORED)', n);
        EXECUTE format('CREATE SEQUENCE "odd\3 größe".%1$I START %2$s', n, i);
        EXECUTE format('CREATE TYPE "odd ""2"" :x {}".%1$I AS ENUM (%1$L, %2$L)', n, left(n, 30) || '%');
        EXECUTE format('CREATE FUNCTION "Odd.1 %%s".%1$I(%1$I "odd ""2"" :x {}".%1$I = %1$L) RETURNS text LANGUAGE sql '
            'RETURN %1$I::text || %1$L', n);
        EXECUTE format('CREATE TRIGGER %1$I BEFORE INSERT ON "Odd.1 %%s".%1$I FOR EACH ROW '
            'EXECUTE FUNCTION shop.keep(%1$L)', n);
        EXECUTE format('CREATE POLICY %1$I ON "Odd.1 %%s".%1$I USING (%1$I <> length(%1$L))', n);
        EXECUTE format('COMMENT ON COLUMN "Odd.1 %%s".%1$I.%1$I IS %1$L', n);
        CONTINUE WHEN i > 20;
        EXECUTE format('CREATE INDEX %1$I ON "Odd.1 %%s"."select" ((x || %1$L), %2$I)', n || '.', 'select');
        EXECUTE format('CREATE VIEW shop.%2$I AS SELECT %1$I AS %2$I, %1$L AS t FROM "Odd.1 %%s".%1$I',
            n, left('v ' || n, 60));
        EXECUTE format('CREATE DOMAIN "Odd.1 %%s".%2$I AS text CONSTRAINT %1$I CHECK (VALUE <> %1$L)',
            n, left('d ' || n, 60));
        EXECUTE format('ALTER TABLE "odd ""2"" :x {}".plain ADD CONSTRAINT %1$I CHECK (note <> %1$L) NOT VALID', n);
        EXECUTE format('CREATE STATISTICS "Odd.1 %%s".%1$I ON %1$I, x FROM "Odd.1 %%s".%1$I', n);
        EXECUTE format('CREATE RULE %1$I AS ON DELETE TO "Odd.1 %%s".%1$I WHERE old.%1$I = 5 DO INSTEAD NOTHING', n);
        EXECUTE format('GRANT SELECT (%1$I) ON "Odd.1 %%s".%1$I TO "feature_O''Dd ""Role"" %%s"', n);
    END LOOP;
END $do$;

-- Odd texts in bodies, defaults, checks, views, policies and arguments of triggers
CREATE TABLE shop.odd_texts (id integer);
DO $do$ DECLARE
    odd text[] := ARRAY['%s %% %(x)s %', ':name ::x :1', '{} {x} {{', '""" '' '' ''''''', '$$ $1 $body$ $_$',
        'back\slash \n \\', E'CR\r\nLF \r alone', E'nel\u0085 ls\u2028 ps\u2029 ff\f vt\x0b bom\uFEFF',
        E'\U0001F600 größe', E'\ttab  \n\n\n end ', '-- ; '' comment', 'm_upgrade = "x" \N{DASH} \u0041 \x41',
        E'\n--\n-- Name: fake; Type: TABLE; Schema: public; Owner: -\n--\n\nCREATE TABLE public.fake ();\n\n',
        E'\n\\connect other\n\\restrict x\n\\unrestrict x\n\\.\n\\! true\n', E'\nSET x = 1;\n/* open \n',
        E'--\n-- PostgreSQL database dump complete\n--\n'];
    t text;
    i integer := 0;
BEGIN
    FOREACH t IN ARRAY odd LOOP
        i := i + 1;
        EXECUTE format('CREATE FUNCTION shop.odd_body_%s() RETURNS text LANGUAGE plpgsql AS %L', i,
            format(E'DECLARE\n    x text := %L;\nBEGIN\n    RETURN x || $x$%s$x$;\nEND', t, t));
        EXECUTE format('CREATE FUNCTION shop.odd_text_%s(a text = %L) RETURNS text LANGUAGE sql RETURN a || %L',
            i, t, t);
        EXECUTE format('ALTER TABLE shop.odd_texts ADD %I text DEFAULT %L CONSTRAINT %I CHECK (%I <> %L)', 'c ' || i, t,
            'odd ' || i, 'c ' || i, t || 'x');
        EXECUTE format('CREATE VIEW shop.odd_view_%s AS SELECT %L AS t, %I FROM shop.odd_texts', i, t, 'c ' || i);
        EXECUTE format('CREATE POLICY %I ON shop.odd_texts USING (%I <> %L)', 'p ' || i, 'c ' || i, t);
        EXECUTE format('CREATE TRIGGER %I BEFORE INSERT ON shop.odd_texts FOR EACH ROW WHEN (new.id::text = %L) '
            'EXECUTE FUNCTION shop.keep(%L)', 't ' || i, t, t);
        EXECUTE format('CREATE INDEX %I ON shop.odd_texts ((%I || %L))', 'odd index ' || i, 'c ' || i, t);
    END LOOP;
    EXECUTE format('CREATE TYPE shop.odd_values AS ENUM (%s)',
        (SELECT string_agg(quote_literal(left(o, 30)), ', ') FROM unnest(odd) o));
END $do$;

-- Publications
CREATE PUBLICATION feature_all FOR ALL TABLES WITH (publish = 'insert, truncate');
CREATE PUBLICATION "Publication %s ""q""" FOR TABLE shop.looped (id, note) WHERE (id > 5 AND note <> 'it''s %'),
    ONLY shop.named, shop.all_types WITH (publish_via_partition_root = true, publish = 'insert, update, delete');
CREATE PUBLICATION feature_schema FOR TABLES IN SCHEMA "select", "Odd.1 %s", TABLE shop.measure_2024;
CREATE PUBLICATION feature_parts FOR TABLE shop.measure (id, at, kind) WITH (publish_via_partition_root);
CREATE PUBLICATION feature_nothing WITH (publish = '');

-- Event triggers that do nothing
CREATE FUNCTION shop.on_event() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN NULL; END$$;
CREATE EVENT TRIGGER feature_start ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'DROP VIEW')
    EXECUTE FUNCTION shop.on_event();
CREATE EVENT TRIGGER "Event %s ""q""" ON ddl_command_end EXECUTE FUNCTION shop.on_event();
CREATE EVENT TRIGGER feature_drop ON sql_drop EXECUTE FUNCTION shop.on_event();
CREATE EVENT TRIGGER feature_rewrite ON table_rewrite EXECUTE FUNCTION shop.on_event();
ALTER EVENT TRIGGER feature_drop DISABLE;
ALTER EVENT TRIGGER feature_rewrite ENABLE ALWAYS;
ALTER EVENT TRIGGER feature_start ENABLE REPLICA;

-- Comments on every kind of object
DO $do$ DECLARE
    odd text[] := ARRAY['%s %(x)s 100%', ':x {} {y}', '""" '' ''''''', '$$ $body$', 'back\slash \n',
        E'one\r\ntwo\rthree', E'\ttab\n', E'nel\u0085 ls\u2028', E'\U0001F600 größe', ' ; -- /* ',
        E'--\n-- Name: fake; Type: TABLE; Schema: public; Owner: -\n--\n', E'\\connect x\n\\restrict y\n'];
    o text;
    i integer := 0;
BEGIN
    FOREACH o IN ARRAY ARRAY[
        'ACCESS METHOD feature_heap', 'AGGREGATE shop.total(shop.cents)', 'AGGREGATE shop."Count %"(*)',
        'AGGREGATE shop.middle(float8 ORDER BY anyelement)', 'CAST (shop.cents AS integer)', 'COLLATION shop.c_copy',
        'COLUMN shop.customer.full_name', 'COLUMN shop.by_key.n', 'COLUMN shop.stored.code', 'COLUMN shop.address.zip',
        'COLUMN shop.far.note', 'CONSTRAINT "it''s a % ''check''" ON shop.customer',
        'CONSTRAINT customer_pkey ON shop.customer', 'CONSTRAINT in_tenant ON shop.item',
        'CONSTRAINT no_overlap ON shop.booking', 'TRIGGER checked ON shop.item',
        'CONSTRAINT "100 % odd" ON DOMAIN shop.positive', 'CONSTRAINT "later ''on''" ON DOMAIN shop.c_text',
        'CONVERSION shop.plain', 'DOMAIN shop.positive', 'EVENT TRIGGER "Event %s ""q"""', 'EXTENSION hstore',
        'FOREIGN DATA WRAPPER "Wrapper %s ""q"""', 'FOREIGN TABLE shop.far', 'FUNCTION shop.careful(text, text)',
        'FUNCTION shop.overload(text, VARIADIC "any")', 'INDEX shop."Index %s ""q"""', 'INDEX shop.measure_all',
        'INDEX shop.customer_pkey', 'LANGUAGE "feature % language"', 'MATERIALIZED VIEW shop.stored',
        'OPERATOR shop.%% (shop.cents, shop.cents)', 'OPERATOR shop.@#@ (NONE, shop.cents)',
        'OPERATOR CLASS shop.cents_ops USING btree', 'OPERATOR FAMILY "select"."Family %" USING hash',
        'POLICY "Read %s ""it""" ON shop.customer', 'PROCEDURE shop.work', 'PUBLICATION feature_all',
        'RULE "Delete %s ""it""" ON shop.named_view', 'RULE never ON shop.log', 'SCHEMA shop', 'SCHEMA public',
        'SCHEMA "Ext. ""q"" %x"', 'SEQUENCE shop.codes', 'SEQUENCE shop.product_id_seq', 'SERVER "Server %s ""q"""',
        'STATISTICS shop."Statistics %s"', 'TABLE shop.customer', 'TABLE shop.measure', 'TABLE shop.measure_2024',
        'TEXT SEARCH CONFIGURATION shop.config', 'TEXT SEARCH DICTIONARY shop.simple_words',
        'TEXT SEARCH PARSER shop.parser', 'TEXT SEARCH TEMPLATE shop.template', 'TRANSFORM FOR shop.cents LANGUAGE sql',
        'TRIGGER "Trigger %s ""q""" ON shop.customer', 'TRIGGER on_parts ON shop.measure', 'TYPE shop.mood',
        'TYPE shop.cents', 'TYPE shop.address', 'TYPE shop.time_range', 'TYPE shop.unfinished', 'VIEW shop.by_key',
        'COLUMN "select"."View %s ""q"" {}"."Column %s"', 'ROUTINE shop.atomic_work(integer)',
        'TABLE shop.odd_texts'] LOOP
        i := i + 1;
        EXECUTE format('COMMENT ON %s IS %L', o, odd[1 + i % 12] || odd[1 + i % 11]);
    END LOOP;
END $do$;
COMMENT ON TABLE shop.product IS E'All of it: %s %(x)s :x {} """ ''  $$ \\ \r\n\t \u2028 \u0085 \U0001F600
--
-- Name: fake; Type: TABLE; Schema: public; Owner: -
--
\\connect x
';

-- Owners other than the superuser
ALTER TABLE shop.measure_detached OWNER TO feature_role_with_a_name_as_long_as_names_may_be_which_is_63_by;
ALTER TABLE shop.fast OWNER TO "feature_O'Dd ""Role"" %s";
ALTER PROCEDURE shop.work OWNER TO "feature_O'Dd ""Role"" %s";
DO $do$ DECLARE o text; BEGIN
    FOREACH o IN ARRAY ARRAY['TABLE shop.log', 'VIEW shop."values"', 'FOREIGN TABLE shop.lines', 'SEQUENCE shop.big',
        'FUNCTION shop.overload(integer)', 'AGGREGATE shop.total(shop.cents)', 'OPERATOR shop.@#@ (NONE, shop.cents)',
        'OPERATOR CLASS shop.near_ops USING gist', 'OPERATOR FAMILY "select"."Family %" USING hash', 'TYPE shop.mood',
        'TYPE shop.time_range', 'DOMAIN shop.c_text', 'COLLATION shop.two_parts', 'CONVERSION shop.plain',
        'TEXT SEARCH CONFIGURATION shop.config', 'TEXT SEARCH DICTIONARY shop.simple_words',
        'STATISTICS shop.two_columns', 'LANGUAGE "feature % language"', 'SERVER feature_files'] LOOP
        EXECUTE format('ALTER %s OWNER TO feature_owner', o);
    END LOOP;
END $do$;

-- Grants of every kind, of the superuser's and of others' objects
GRANT USAGE ON SCHEMA shop TO feature_granter WITH GRANT OPTION;
GRANT USAGE, CREATE ON SCHEMA "select" TO feature_reader, "feature_O'Dd ""Role"" %s";
GRANT CREATE ON SCHEMA public TO feature_writer;
GRANT SELECT ON shop.customer, shop.by_key, shop.stored, shop.far, shop.measure, shop.measure_2024 TO feature_reader;
GRANT ALL ON shop.product TO feature_writer WITH GRANT OPTION;
GRANT INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON shop.item TO feature_writer;
GRANT SELECT ON shop.named TO PUBLIC;
GRANT SELECT (id, full_name), UPDATE (full_name, mood), INSERT (code), REFERENCES (id)
    ON shop.customer TO feature_writer;
GRANT ALL (note) ON shop.product TO feature_granter WITH GRANT OPTION;
GRANT USAGE, SELECT ON SEQUENCE shop.codes, shop."Identity %s" TO feature_writer;
GRANT UPDATE ON SEQUENCE shop.plain_sequence TO PUBLIC;
GRANT EXECUTE ON FUNCTION shop.slug(text), shop.overload(), shop.overload(integer) TO feature_reader WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION shop.total(shop.cents) TO "feature_O'Dd ""Role"" %s";
GRANT EXECUTE ON PROCEDURE shop.work TO feature_role_with_a_name_as_long_as_names_may_be_which_is_63_by;
GRANT USAGE ON TYPE shop.mood, shop.address, shop.cents, shop.time_range, shop.positive TO feature_writer;
GRANT USAGE ON LANGUAGE "feature % language" TO feature_writer WITH GRANT OPTION;
GRANT USAGE ON FOREIGN DATA WRAPPER feature_bare TO feature_owner;
GRANT USAGE ON FOREIGN SERVER feature_far, "Server %s ""q""" TO feature_reader WITH GRANT OPTION;
GRANT SELECT ON pg_catalog.pg_authid TO feature_reader;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO feature_reader;
REVOKE EXECUTE ON FUNCTION shop.careful(text, text), ext.hstore(text, text), pg_catalog.pg_sleep(float8) FROM PUBLIC;
REVOKE USAGE ON TYPE shop.mood, shop.label, shop.digit FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql, "feature % language" FROM PUBLIC;
REVOKE INSERT, TRUNCATE ON shop.looped FROM CURRENT_USER;
REVOKE ALL ON shop.alike, shop.unlogged_sequence, shop.locking FROM CURRENT_USER;
REVOKE ALL ON FUNCTION shop.numbers(integer) FROM PUBLIC, CURRENT_USER;
REVOKE ALL ON TYPE shop.scores FROM PUBLIC, CURRENT_USER;
REVOKE DELETE, TRIGGER ON shop.log FROM feature_owner;
GRANT SELECT, INSERT, UPDATE (what, at) ON shop.log TO feature_granter, feature_writer WITH GRANT OPTION;
GRANT SELECT, DELETE ON shop.named TO feature_granter WITH GRANT OPTION;
GRANT UPDATE (name) ON shop.named TO feature_granter WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE shop.big TO feature_granter WITH GRANT OPTION;
SET SESSION AUTHORIZATION feature_granter;
GRANT SELECT ON shop.named, shop.log TO feature_reader;
GRANT DELETE, UPDATE (name) ON shop.named TO feature_writer WITH GRANT OPTION;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
GRANT USAGE ON SCHEMA shop TO feature_writer WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE shop.big TO "feature_O'Dd ""Role"" %s";
SET SESSION AUTHORIZATION feature_writer;
GRANT UPDATE (name) ON shop.named TO "feature_O'Dd ""Role"" %s";
RESET SESSION AUTHORIZATION;

-- Default privileges, and objects that were made under them
CREATE SCHEMA made AUTHORIZATION feature_maker;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker REVOKE DELETE, TRUNCATE ON TABLES FROM feature_maker;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker GRANT USAGE ON SCHEMAS TO feature_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_owner, "feature_O'Dd ""Role"" %s", feature_maker IN SCHEMA made, "select"
    GRANT SELECT, INSERT ON TABLES TO feature_reader, PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker IN SCHEMA made
    GRANT ALL ON SEQUENCES TO feature_writer, "feature_O'Dd ""Role"" %s" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_maker IN SCHEMA made GRANT EXECUTE ON FUNCTIONS TO feature_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE feature_owner IN SCHEMA made GRANT USAGE ON TYPES TO feature_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA empty_one GRANT SELECT ON TABLES TO feature_reader WITH GRANT OPTION;
SET SESSION AUTHORIZATION feature_maker;
CREATE TABLE made.by_maker (id serial PRIMARY KEY, note text);
CREATE FUNCTION made.by_maker() RETURNS integer LANGUAGE sql RETURN 1;
CREATE TYPE made.colour AS ENUM ('red %');
CREATE VIEW made.view AS SELECT id, made.by_maker() AS one FROM made.by_maker;
REVOKE ALL ON made.view FROM feature_maker, PUBLIC;
RESET SESSION AUTHORIZATION;
