// A message hub as it is commonly written in Go with gorilla/websocket: the gateway's peer in the benches.
//
//	hub PORT [batch | durable FILE]
//
// Two goroutines a connection, a channel of 256 between hub and write pump, never waited for. It does the work that
// the gateway does for the same frames: rooms, numbers, mailboxes that keep what isn't acked. With `batch` the write
// pump drains its channel into one write; with `durable` (built with the tag `sqlite`) everything is stored first.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const queue = 256

type fromClient struct {
	T    string          `json:"t"`
	User string          `json:"user"`
	Room string          `json:"room"`
	ID   string          `json:"id"`
	To   string          `json:"to"`
	E    string          `json:"e"`
	N    uint64          `json:"n"`
	Body json.RawMessage `json:"body"`
}

type message struct {
	T    string          `json:"t"`
	On   string          `json:"on"`
	E    string          `json:"e"`
	N    uint64          `json:"n"`
	ID   string          `json:"id"`
	From string          `json:"from"`
	At   int64           `json:"at"`
	Body json.RawMessage `json:"body"`
}

type welcome struct {
	T        string `json:"t"`
	Node     string `json:"node"`
	User     string `json:"user"`
	Session  string `json:"session"`
	Remember int    `json:"remember"`
}

type joined struct {
	T    string `json:"t"`
	Room string `json:"room"`
	E    string `json:"e"`
	N    uint64 `json:"n"`
}

type stored struct {
	T  string `json:"t"`
	ID string `json:"id"`
	N  uint64 `json:"n"`
}

// stream is a room, with its members, or a mailbox, with one reader and what that hasn't acked.
type stream struct {
	sync.Mutex
	n       uint64
	members map[*client]struct{}
	unacked []kept
}

type kept struct {
	n    uint64
	text []byte
}

type client struct {
	conn *websocket.Conn
	out  chan []byte
	user string
	// flush writes what the batching connection holds; nil without it.
	flush func() error
}

type hub struct {
	sync.RWMutex
	streams map[string]*stream
	batch   bool
	// post and done store a message and an ack; nil where nothing is stored.
	post func(c *client, f *fromClient)
	done func(stream string, n uint64)
}

// durable has a hub store what it is told; nil without the tag `sqlite`.
var durable func(h *hub, path string)

func (h *hub) stream(name string) *stream {
	h.RLock()
	s := h.streams[name]
	h.RUnlock()
	if s != nil {
		return s
	}
	h.Lock()
	defer h.Unlock()
	if h.streams[name] == nil {
		h.streams[name] = &stream{members: map[*client]struct{}{}}
	}
	return h.streams[name]
}

func (s *stream) enter(c *client) uint64 {
	s.Lock()
	defer s.Unlock()
	s.members[c] = struct{}{}
	return s.n
}

func (s *stream) leave(c *client) {
	s.Lock()
	delete(s.members, c)
	s.Unlock()
}

// add numbers a message and hands it to all members; a member whose queue is full doesn't get it.
func (s *stream) add(m *message, keep bool) (uint64, error) {
	s.Lock()
	defer s.Unlock()
	m.N = s.n + 1
	text, err := json.Marshal(m)
	if err != nil {
		return 0, err
	}
	s.n = m.N
	if keep {
		s.unacked = append(s.unacked, kept{m.N, text})
	}
	s.give(text)
	return m.N, nil
}

// tell hands a message that has its number to all members.
func (s *stream) tell(m *message) {
	s.Lock()
	defer s.Unlock()
	text, err := json.Marshal(m)
	if err != nil {
		return
	}
	s.give(text)
}

func (s *stream) give(text []byte) {
	for c := range s.members {
		select {
		case c.out <- text:
		default:
		}
	}
}

func (s *stream) acked(n uint64) {
	s.Lock()
	defer s.Unlock()
	done := 0
	for done < len(s.unacked) && s.unacked[done].n <= n {
		done++
	}
	s.unacked = s.unacked[done:]
}

func (c *client) say(frame interface{}) {
	text, err := json.Marshal(frame)
	if err != nil {
		return
	}
	select {
	case c.out <- text:
	default:
	}
}

func (h *hub) handle(c *client, f *fromClient) error {
	switch f.T {
	case "hello":
		c.user = f.User
		h.stream("user:" + c.user).enter(c)
		c.say(&welcome{"welcome", "go", c.user, "1", 2000})
	case "join":
		n := h.stream("room:" + f.Room).enter(c)
		c.say(&joined{"joined", f.Room, "1", n})
	case "send":
		if h.post != nil {
			h.post(c, f)
			return nil
		}
		m := &message{T: "msg", On: f.To, E: "1", ID: c.user + "/" + f.ID, From: c.user, At: time.Now().UnixMilli(), Body: f.Body}
		n, err := h.stream(f.To).add(m, strings.HasPrefix(f.To, "user:"))
		if err != nil {
			return err
		}
		c.say(&stored{"ok", f.ID, n})
	case "ack":
		if h.done != nil {
			h.done("user:"+c.user, f.N)
			return nil
		}
		h.stream("user:" + c.user).acked(f.N)
	}
	return nil
}

func (h *hub) readPump(c *client) {
	rooms := map[string]struct{}{}
	defer func() {
		for room := range rooms {
			h.stream("room:" + room).leave(c)
		}
		h.stream("user:" + c.user).leave(c)
		close(c.out)
	}()
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var f fromClient
		if json.Unmarshal(data, &f) != nil || h.handle(c, &f) != nil {
			return
		}
		if f.T == "join" {
			rooms[f.Room] = struct{}{}
		}
	}
}

func (c *client) writePump() {
	defer c.conn.Close()
	for text := range c.out {
		if c.conn.WriteMessage(websocket.TextMessage, text) != nil {
			return
		}
		if c.flush == nil {
			continue
		}
		for more := len(c.out); more > 0; more-- {
			text, open := <-c.out
			if !open || c.conn.WriteMessage(websocket.TextMessage, text) != nil {
				return
			}
		}
		if c.flush() != nil {
			return
		}
	}
}

// batching is a connection that keeps what is written to it until it is flushed.
type batching struct {
	net.Conn
	out *bufio.Writer
}

func (b *batching) Write(data []byte) (int, error) { return b.out.Write(data) }

type batchingListener struct{ net.Listener }

func (l batchingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &batching{conn, bufio.NewWriterSize(conn, 4096)}, nil
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{conn: conn, out: make(chan []byte, queue)}
	if held, ok := conn.UnderlyingConn().(*batching); ok {
		c.flush = held.out.Flush
		if c.flush() != nil {
			return
		}
	}
	go c.writePump()
	h.readPump(c)
}

func main() {
	h := &hub{streams: map[string]*stream{}, batch: len(os.Args) == 3}
	if len(os.Args) > 3 {
		durable(h, os.Args[3])
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if h.batch {
		listener = batchingListener{listener}
	}
	http.HandleFunc("/ws", h.serve)
	log.Fatal(http.Serve(listener, nil))
}
