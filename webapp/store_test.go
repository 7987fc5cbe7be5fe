package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
)

// slow is a database that takes a second to answer a ping, counts them, and answers what it is told to.
type slow struct {
	pings  atomic.Int32
	answer error
}

func (s *slow) Connect(context.Context) (driver.Conn, error) { return slowConn{&fakeConn{}, s}, nil }
func (s *slow) Driver() driver.Driver                        { return nil }

type slowConn struct {
	*fakeConn
	db *slow
}

func (c slowConn) Ping(ctx context.Context) error {
	c.db.pings.Add(1)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return c.db.answer
	}
}

// TestProbesShareAnAnswer has the database asked once for all probes that come while it is being asked, and anew for
// one that comes later: neither a good answer nor a bad one is kept.
func TestProbesShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		database := &slow{}
		db := sql.OpenDB(database)
		defer db.Close()
		h := newHandler(slog.New(slog.DiscardHandler), &store{db})
		for i, c := range []struct {
			answer error
			want   int
		}{{nil, 200}, {errors.New("down"), 503}, {nil, 200}} {
			database.answer = c.answer
			var probes sync.WaitGroup
			for range 20 {
				probes.Go(func() {
					if w := request(h, "GET", "/health", ""); w.Code != c.want {
						t.Errorf("got %d, want %d", w.Code, c.want)
					}
				})
			}
			probes.Wait()
			if pings := database.pings.Load(); pings != int32(i+1) {
				t.Errorf("%d pings after %d rounds of probes", pings, i+1)
			}
		}
	})
}

// TestProbeThatLeaves takes away the probe that asked first; the one that shares its answer gets it all the same.
func TestProbeThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		database := &slow{}
		db := sql.OpenDB(database)
		defer db.Close()
		h := newHandler(slog.New(slog.DiscardHandler), &store{db})
		ctx, leave := context.WithCancel(t.Context())
		var probes sync.WaitGroup
		probes.Go(func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/health", nil))
		})
		synctest.Wait()
		probes.Go(func() {
			if w := request(h, "GET", "/health", ""); w.Code != 200 {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		leave()
		probes.Wait()
		if pings := database.pings.Load(); pings != 1 {
			t.Errorf("%d pings, want 1", pings)
		}
	})
}

// TestClientThatLeaves has no statement cancelled for a client that went away: the connection would go with it.
func TestClientThatLeaves(t *testing.T) {
	h, _ := application(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(gone, "GET", "/users", nil))
	if w.Code != 200 {
		t.Errorf("got %d: %s", w.Code, w.Body)
	}
}

// TestTotal counts the table where the page does not show its end.
func TestTotal(t *testing.T) {
	_, fake := application(t)
	db := sql.OpenDB(fake)
	defer db.Close()
	for _, c := range []struct{ limit, offset, rows int }{
		{50, 0, 2}, {1, 0, 1}, {1, 1, 1}, {2, 0, 2}, {50, 1, 1}, {50, 7, 0},
	} {
		page, total, err := (&store{db}).users(t.Context(), c.limit, c.offset)
		if err != nil || total != 2 || len(page) != c.rows {
			t.Errorf(
				"limit %d, offset %d: %d users of %d, %v; want %d of 2",
				c.limit,
				c.offset,
				len(page),
				total,
				err,
				c.rows,
			)
		}
	}
	fake.users = nil
	if page, total, err := (&store{db}).users(t.Context(), 50, 0); err != nil || total != 0 || page == nil {
		t.Errorf("of an empty table: %v, %d, %v", page, total, err)
	}
}

// moody is a database that says this many times what the driver cannot read.
type moody struct {
	fakeDatabase
	malformed int
}

func (m *moody) Connect(ctx context.Context) (driver.Conn, error) {
	if m.malformed--; m.malformed >= 0 {
		return nil, fmt.Errorf("handshake: %w", mysql.ErrMalformPkt)
	}
	return m.fakeDatabase.Connect(ctx)
}

// TestMalformedChallenge has a challenge that the driver cannot read cost another attempt, and not the request.
func TestMalformedChallenge(t *testing.T) {
	for malformed, want := range map[int]error{0: nil, connectAttempts - 1: nil, connectAttempts: mysql.ErrMalformPkt} {
		db := sql.OpenDB(persistent{&moody{malformed: malformed}})
		if err := (&store{db}).ping(t.Context()); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("after %d malformed challenges: %v, want %v", malformed, err, want)
		}
		db.Close()
	}
}
