-- Every row ends with a checksum of itself, see sum.go.

-- The first leaf of the log that is not in this file, and how many machines are.
CREATE TABLE cursor (next INTEGER NOT NULL, machines INTEGER NOT NULL, sum INTEGER NOT NULL);

CREATE TABLE machines (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	unit TEXT NOT NULL, -- of its last batch
	journals INTEGER NOT NULL, -- how many it has in their table
	cloned INTEGER NOT NULL, -- likewise
	sum INTEGER NOT NULL
);

-- When two machines measured under one identity; an until of NULL goes on.
CREATE TABLE cloned (
	machine INTEGER NOT NULL REFERENCES machines,
	since INTEGER NOT NULL,
	until INTEGER,
	sum INTEGER NOT NULL,
	PRIMARY KEY (machine, since)
) WITHOUT ROWID;

CREATE TABLE checks (
	id INTEGER PRIMARY KEY, -- 0 stands for every check, "*"
	name TEXT NOT NULL UNIQUE,
	sum INTEGER NOT NULL
);

CREATE TABLE journals (
	id INTEGER PRIMARY KEY,
	machine INTEGER NOT NULL REFERENCES machines,
	name TEXT NOT NULL,
	place INTEGER NOT NULL, -- among the machine's journals, in the order of their chain; a later one wins
	previous TEXT, -- the name of the one before it, as its begin says
	sum INTEGER NOT NULL, -- of all but the state
	state BLOB, -- packed
	state_sum INTEGER, -- of id and state
	UNIQUE (machine, name)
);

CREATE TABLE plans (
	sha256 TEXT PRIMARY KEY,
	plan BLOB NOT NULL, -- JSON
	sum INTEGER NOT NULL
) WITHOUT ROWID;

-- Plans in the order in which a journal says that they were applied.
CREATE TABLE applied (
	journal INTEGER NOT NULL REFERENCES journals,
	n INTEGER NOT NULL,
	at INTEGER NOT NULL,
	sha256 TEXT NOT NULL REFERENCES plans,
	sum INTEGER NOT NULL,
	PRIMARY KEY (journal, n)
) WITHOUT ROWID;

-- Closed runs by local month: class 0 of results, 1 of ranges.
CREATE TABLE runs (
	journal INTEGER NOT NULL REFERENCES journals,
	month INTEGER NOT NULL,
	chk INTEGER NOT NULL REFERENCES checks,
	class INTEGER NOT NULL,
	packed BLOB NOT NULL,
	sum INTEGER NOT NULL,
	PRIMARY KEY (journal, month, chk, class)
) WITHOUT ROWID
