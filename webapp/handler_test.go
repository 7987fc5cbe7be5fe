package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// fakeDatabase is a driver that knows the four statements of the store and fails on any other.
type fakeDatabase struct {
	mu    sync.Mutex
	down  error // what every connection meets
	users []user
}

func (f *fakeDatabase) Connect(context.Context) (driver.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	return &fakeConn{f}, nil
}

func (f *fakeDatabase) Driver() driver.Driver { return nil }

type fakeConn struct{ db *fakeDatabase }

func (c *fakeConn) Prepare(query string) (driver.Stmt, error) {
	return nil, fmt.Errorf("nobody told of a prepared %q", query)
}
func (c *fakeConn) Close() error              { return nil }
func (c *fakeConn) Begin() (driver.Tx, error) { return nil, errors.New("nobody told of a transaction") }

func (c *fakeConn) Ping(context.Context) error { return c.alive() }

func (c *fakeConn) alive() error {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	return c.db.down
}

func (c *fakeConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	switch {
	case query == "SELECT COUNT(*) FROM users":
		return &fakeRows{columns: 1, rows: [][]driver.Value{{int64(len(c.db.users))}}}, nil
	case strings.HasPrefix(query, "SELECT created_at FROM users WHERE id = ?"):
		return &fakeRows{columns: 1, rows: [][]driver.Value{{time.Unix(0, 0)}}}, nil
	case strings.HasPrefix(query, "SELECT id, username, email, created_at FROM users ORDER BY id LIMIT ? OFFSET ?"):
		limit, offset := int(args[0].Value.(int64)), int(args[1].Value.(int64))
		r := &fakeRows{columns: 4}
		for i := offset; i < min(offset+limit, len(c.db.users)); i++ {
			u := c.db.users[i]
			r.rows = append(r.rows, []driver.Value{u.ID, u.Username, u.Email, u.CreatedAt})
		}
		return r, nil
	}
	return nil, fmt.Errorf("nobody told of %q", query)
}

func (c *fakeConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	if query != "INSERT INTO users (username, email) VALUES (?, ?)" {
		return nil, fmt.Errorf("nobody told of %q", query)
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	id := int64(len(c.db.users) + 1)
	c.db.users = append(c.db.users, user{ID: id, Username: args[0].Value.(string), Email: args[1].Value.(string)})
	return fakeResult(id), nil
}

type fakeResult int64

func (r fakeResult) LastInsertId() (int64, error) { return int64(r), nil }
func (r fakeResult) RowsAffected() (int64, error) { return 1, nil }

type fakeRows struct {
	columns int
	rows    [][]driver.Value
}

func (r *fakeRows) Columns() []string { return make([]string, r.columns) }
func (r *fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(into []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(into, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

// application is the handler over a fake database with two users.
func application(t *testing.T) (http.Handler, *fakeDatabase) {
	t.Helper()
	fake := &fakeDatabase{
		users: []user{
			{ID: 1, Username: "admin", Email: "admin@example.com"},
			{ID: 2, Username: "<test>", Email: "test@example.com"},
		},
	}
	db := sql.OpenDB(fake)
	t.Cleanup(func() { db.Close() })
	return newHandler(slog.New(slog.DiscardHandler), &store{db}), fake
}

func request(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStatuses(t *testing.T) {
	long := strings.Repeat("x", 51)
	asJSON := []string{"Content-Type", "application/json"}
	for _, c := range []struct {
		name, method, target, body string
		header                     []string
		want                       int
	}{
		{"page", "GET", "/", "", nil, 200},
		{"alive", "GET", "/livez", "", nil, 200},
		{"health", "GET", "/health", "", nil, 200},
		{"users", "GET", "/users", "", nil, 200},
		{"style", "GET", "/style.css", "", nil, 200},
		{"nothing there", "GET", "/nope", "", nil, 404},
		{"method", "DELETE", "/users", "", nil, 405},
		{"limit", "GET", "/users?limit=0", "", nil, 400},
		{"limit too large", "GET", "/users?limit=201", "", nil, 400},
		{"offset", "GET", "/users?offset=-1", "", nil, 400},
		{"no number", "GET", "/users?limit=all", "", nil, 400},
		{"added", "POST", "/users", `{"username":"ada","email":"ada@example.com"}`, asJSON, 201},
		{"added by form", "POST", "/users", "username=ada&email=ada@example.com", []string{
			"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html",
		}, 303},
		{"no JSON", "POST", "/users", `{`, asJSON, 400},
		{"unknown field", "POST", "/users", `{"username":"a","email":"a@example.com","admin":true}`, asJSON, 400},
		{"two values", "POST", "/users", `{"username":"a","email":"a@example.com"}{}`, asJSON, 400},
		{"no name", "POST", "/users", `{"email":"a@example.com"}`, asJSON, 400},
		{"long name", "POST", "/users", `{"username":"` + long + `","email":"a@example.com"}`, asJSON, 400},
		{"long address", "POST", "/users",
			`{"username":"a","email":"` + strings.Repeat(long, 2) + `@example.com"}`, asJSON, 400},
		{"no address", "POST", "/users", `{"username":"a","email":"Ada <a@example.com>"}`, asJSON, 400},
		{"no type", "POST", "/users", `{}`, nil, 415},
		{"another type", "POST", "/users", `x`, []string{"Content-Type", "text/plain"}, 415},
		{"too large", "POST", "/users", `{"username":"` + strings.Repeat("x", maxBody) + `"}`, asJSON, 413},
		{"another site's form", "POST", "/users", "username=a&email=a@example.com", []string{
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site",
		}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, fake := application(t)
			w := request(h, c.method, c.target, c.body, c.header...)
			if w.Code != c.want {
				t.Errorf("got %d, want %d: %s", w.Code, c.want, w.Body)
			}
			if added := len(fake.users) == 3; added != (c.want == 201 || c.want == 303) {
				t.Errorf("there are %d users after %d", len(fake.users), w.Code)
			}
		})
	}
}

func TestUsersByPageAndKind(t *testing.T) {
	h, _ := application(t)
	w := request(h, "GET", "/users?limit=1&offset=1", "", "Accept", "application/json")
	var page struct {
		Users []user
		Total int
	}
	if err := json.Unmarshal(
		w.Body.Bytes(),
		&page,
	); err != nil || page.Total != 2 || len(page.Users) != 1 ||
		page.Users[0].ID != 2 {
		t.Errorf("got %s, %v", w.Body, err)
	}
	w = request(h, "GET", "/users", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") ||
		!strings.Contains(w.Body.String(), "&lt;test&gt;") ||
		strings.Contains(w.Body.String(), "<test>") {
		t.Errorf("a browser gets %s:\n%s", w.Header().Get("Content-Type"), w.Body)
	}
	if w.Header().Get("Content-Security-Policy") == "" {
		t.Error("the page has no content security policy")
	}
}

func TestDatabaseMayBeAwayAndComeBack(t *testing.T) {
	h, fake := application(t)
	fake.down = &mysql.MySQLError{
		Number:  1045,
		Message: "Access denied for user 'app'@'10.0.1.5' (using password: YES)",
	}
	w := request(h, "GET", "/health", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "access denied") ||
		strings.Contains(w.Body.String(), "10.0.1.5") {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
	if w := request(h, "GET", "/", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "access denied") {
		t.Errorf("without the database the page is %d", w.Code)
	}
	if w := request(h, "GET", "/users", ""); w.Code != 503 {
		t.Errorf("without the database users are %d", w.Code)
	}
	if w := request(h, "GET", "/livez", ""); w.Code != 200 {
		t.Errorf("without the database the application is not alive: %d", w.Code)
	}
	fake.mu.Lock()
	fake.down = nil
	fake.mu.Unlock()
	if w := request(h, "GET", "/health", ""); w.Code != 200 {
		t.Errorf("with the database back: %d: %s", w.Code, w.Body)
	}
}
