CREATE TABLE "Artist" ("ArtistId" int NOT NULL, "Name" varchar(120), CONSTRAINT "PK_Artist" PRIMARY KEY ("ArtistId"));
CREATE TABLE "Album" ("AlbumId" serial, "Title" varchar(160) NOT NULL, "ArtistId" int NOT NULL,
    CONSTRAINT "PK_Album" PRIMARY KEY ("AlbumId"),
    CONSTRAINT "FK_AlbumArtist" FOREIGN KEY ("ArtistId") REFERENCES "Artist" ON DELETE NO ACTION ON UPDATE NO ACTION);
CREATE INDEX "IFK_AlbumArtistId" ON "Album" ("ArtistId");
CREATE TABLE "Track" (id integer PRIMARY KEY, "AlbumId" int REFERENCES "Album" DEFERRABLE INITIALLY DEFERRED,
    "UnitPrice" numeric(10,2) NOT NULL DEFAULT 0.99, "Bytes" bigint, composer text COLLATE "C");
CREATE TABLE "PlaylistTrack" ("PlaylistId" int, "TrackId" int REFERENCES "Track" ON DELETE CASCADE,
    PRIMARY KEY ("TrackId", "PlaylistId"));
CREATE TABLE "Employee" (id int PRIMARY KEY, "ReportsTo" int REFERENCES "Employee", "class" text, "int" int,
    "date" date, "datetime" timestamp(3), "str" text, "metadata" jsonb, "__x" int, "1st col" text, "a:b" text, "p%c" int);
CREATE TABLE no_key ("when" timestamptz DEFAULT now(), note text);
COMMENT ON TABLE "Album" IS '100% of :albums';
COMMENT ON COLUMN "Album"."Title" IS E'a "title" with %s and \\ and \'';
