CREATE TABLE keybound_record (
    kind    TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    family  TEXT   NOT NULL,
    expires BIGINT NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX keybound_record_family ON keybound_record (family) WHERE family <> '';

CREATE INDEX keybound_record_expires ON keybound_record (expires);
