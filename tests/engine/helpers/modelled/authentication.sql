CREATE SCHEMA auth;
CREATE EXTENSION citext;
CREATE TYPE auth.aal_level AS ENUM ('aal1', 'aal2', '100%');
CREATE DOMAIN auth.email AS text NOT NULL CHECK (VALUE ~ '^[^:]+@x:y');
CREATE DOMAIN auth.positive AS numeric(8,2) DEFAULT 1 CONSTRAINT above CHECK (VALUE > 0) CONSTRAINT below CHECK (VALUE < 9);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT gen_random_uuid()';
CREATE TABLE auth.users (
    id uuid PRIMARY KEY DEFAULT auth.uid(), email auth.email, alias citext, level auth.aal_level[] DEFAULT '{aal1}',
    one auth.aal_level NOT NULL DEFAULT '100%', worth auth.positive, phone varchar(15) DEFAULT NULL::varchar,
    confirmed_at timestamptz GENERATED ALWAYS AS (least(a, b)) STORED, a timestamptz, b timestamptz,
    ip inet, raw jsonb DEFAULT '{"a": "b:c"}', deleted boolean DEFAULT false,
    CONSTRAINT users_phone_key UNIQUE NULLS NOT DISTINCT (phone) INCLUDE (deleted),
    CONSTRAINT raw_check CHECK (raw->>'k' <> ':bind' AND phone LIKE '%1%'));
CREATE UNIQUE INDEX users_alias ON auth.users (lower(alias::text) DESC NULLS LAST, id) INCLUDE (email) WHERE deleted IS NOT TRUE;
CREATE INDEX users_email_ops ON auth.users (phone text_pattern_ops, confirmed_at DESC) WITH (fillfactor = 70);
CREATE INDEX users_raw ON auth.users USING gin (raw jsonb_path_ops);
CREATE TABLE auth.sessions (id uuid NOT NULL, user_id uuid NOT NULL, tag text, constraint sessions_pk PRIMARY KEY (id) DEFERRABLE,
    CONSTRAINT user_fk FOREIGN KEY (user_id) REFERENCES auth.users ON UPDATE CASCADE ON DELETE CASCADE);
ALTER TABLE auth.sessions ADD CONSTRAINT tag_length CHECK (length(tag) < 9) NOT VALID;
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON auth.users USING (id = auth.uid());
CREATE VIEW auth.active AS SELECT id FROM auth.users WHERE NOT deleted;
