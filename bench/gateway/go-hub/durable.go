//go:build sqlite

// The hub with mailboxes and rooms on disk, as the gateway has them: SQLite with a write-ahead log, one writer, one
// transaction for all that waits, `ok` once it is committed, each id stored once.
package main

import (
	"database/sql"
	"log"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

const (
	mostEntries = 2000
	schema      = `
CREATE TABLE streams (stream TEXT PRIMARY KEY, last INTEGER NOT NULL, acked INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, at INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (stream, seq)) WITHOUT ROWID;
CREATE TABLE ids (
    stream TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (stream, id)) WITHOUT ROWID;`
)

// entry is a message to be stored, or (without one) an ack of a stream up to a number.
type entry struct {
	from    *client
	id      string
	message *message
	stream  string
	acked   uint64
}

type writer struct {
	db                                   *sql.DB
	hub                                  *hub
	in                                   chan entry
	addID, findID, add, set, ack, forget *sql.Stmt
}

func init() { durable = open }

func open(h *hub, path string) {
	db, err := sql.Open("sqlite3", path+"?_journal_mode=WAL&_synchronous=NORMAL&_cache_size=-16384&_txlock=immediate")
	check(err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(schema)
	check(err)
	w := &writer{db: db, hub: h, in: make(chan entry, mostEntries)}
	for statement, text := range map[**sql.Stmt]string{
		&w.addID:  "INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?)",
		&w.findID: "SELECT seq FROM ids WHERE stream = ? AND id = ?",
		&w.add:    "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)",
		&w.set:    "INSERT INTO streams VALUES (?, ?, 0) ON CONFLICT (stream) DO UPDATE SET last = excluded.last",
		&w.ack:    "UPDATE streams SET acked = ? WHERE stream = ? AND acked < ?",
		&w.forget: "DELETE FROM messages WHERE stream = ? AND seq <= ?",
	} {
		*statement, err = db.Prepare(text)
		check(err)
	}
	h.post = func(c *client, f *fromClient) {
		m := &message{T: "msg", On: f.To, E: "1", ID: c.user + "/" + f.ID, From: c.user, At: time.Now().UnixMilli(), Body: f.Body}
		w.in <- entry{from: c, id: f.ID, message: m}
	}
	h.done = func(stream string, n uint64) { w.in <- entry{stream: stream, acked: n} }
	go w.run()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// run writes all that gathered while the last of it was written.
func (w *writer) run() {
	for first := range w.in {
		batch := []entry{first}
		for more := len(w.in); more > 0 && len(batch) < mostEntries; more-- {
			batch = append(batch, <-w.in)
		}
		w.store(batch)
		for _, e := range batch {
			if e.message != nil {
				w.hub.stream(e.message.On).tell(e.message)
				e.from.say(&stored{"ok", e.id, e.message.N})
			}
		}
	}
}

func (w *writer) store(batch []entry) {
	tx, err := w.db.Begin()
	check(err)
	addID, add := tx.Stmt(w.addID), tx.Stmt(w.add)
	acks, changed := map[string]uint64{}, map[string]uint64{}
	for _, e := range batch {
		if e.message == nil {
			acks[e.stream] = e.acked
			continue
		}
		m, s := e.message, w.hub.stream(e.message.On)
		m.N = s.n + 1
		done, err := addID.Exec(m.On, m.ID, m.N, m.At)
		check(err)
		if new, _ := done.RowsAffected(); new == 0 {
			check(tx.Stmt(w.findID).QueryRow(m.On, m.ID).Scan(&m.N))
			continue
		}
		_, err = add.Exec(m.On, m.N, m.ID, m.From, m.At, []byte(m.Body))
		check(err)
		s.n = m.N
		changed[m.On] = m.N
	}
	set, ack, forget := tx.Stmt(w.set), tx.Stmt(w.ack), tx.Stmt(w.forget)
	for stream, n := range changed {
		_, err = set.Exec(stream, n)
		check(err)
	}
	for stream, n := range acks {
		_, err = ack.Exec(n, stream, n)
		check(err)
		_, err = forget.Exec(stream, n)
		check(err)
	}
	check(tx.Commit())
}
