package main

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"
)

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/index.html"))

const (
	maxBody      = 64 << 10
	defaultLimit = 50
	maxLimit     = 200
	policy       = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
		"frame-ancestors 'none'"
)

type handler struct {
	log   *slog.Logger
	store *store
	pings singleflight.Group // of the database, for /health
}

// newHandler is the whole application. Requests that change something must come from its own page or from no browser.
func newHandler(log *slog.Logger, users *store) http.Handler {
	h := &handler{log: log, store: users}
	static, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the directory is built in
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.page)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /health", h.health)
	mux.HandleFunc("GET /users", h.listUsers)
	mux.HandleFunc("POST /users", h.addUser)
	mux.Handle("GET /style.css", cached(http.FileServerFS(static)))
	return h.logged(http.NewCrossOriginProtection().Handler(mux))
}

func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		next.ServeHTTP(w, r)
	})
}

// health says whether the database can be used: 200, or 503 with the reason. Requests that come while the database is
// being asked share its answer, so that many probes are no load on it; nothing is kept beyond that. The answer that a
// request gets therefore came in after the request did, and the question is older than the request by one round trip at
// most, dialTimeout if the database hangs.
func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	asked := h.pings.DoChan("", func() (any, error) {
		started := time.Now()
		err := h.store.ping(ctx)
		return time.Since(started), err
	})
	select {
	case <-ctx.Done(): // nobody is there to be answered
	case answer := <-asked:
		if answer.Err != nil {
			writeJSON(
				w,
				http.StatusServiceUnavailable,
				map[string]any{"status": "unhealthy", "database": reason(answer.Err)},
			)
			return
		}
		writeJSON(
			w,
			http.StatusOK,
			healthy{Database: "reachable", Milliseconds: milliseconds(answer.Val.(time.Duration)), Status: "healthy"},
		)
	}
}

// healthy is the answer to a probe that went well. Milliseconds is how long the database took.
type healthy struct {
	Database     string  `json:"database"`
	Milliseconds float64 `json:"milliseconds"`
	Status       string  `json:"status"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// view is the data of the page's template.
type view struct {
	Healthy     bool
	Reason      string
	Users       []user
	Total       int
	Limit       int
	Offset      int
	Previous    int
	Next        int
	HasPrevious bool
	HasNext     bool
	Problem     string
	Username    string
	Email       string
}

func (h *handler) page(w http.ResponseWriter, r *http.Request) { h.show(w, r, http.StatusOK, view{}) }

// show renders the page; without the database it says so, and is a page all the same.
func (h *handler) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	limit, offset, err := paging(r)
	if err != nil {
		h.fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	v.Limit, v.Offset = limit, offset
	v.Users, v.Total, err = h.store.users(r.Context(), limit, offset)
	if v.Healthy = err == nil; !v.Healthy {
		v.Reason = reason(err)
	}
	v.HasPrevious, v.Previous = offset > 0, max(0, offset-limit)
	v.HasNext, v.Next = offset+limit < v.Total, offset+limit
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := pageTemplate.Execute(w, v); err != nil {
		h.log.Warn("write the page", "error", err.Error())
	}
}

// userPage is a page of users as JSON.
type userPage struct {
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	Total  int    `json:"total"` // in all pages
	Users  []user `json:"users"`
}

func (h *handler) listUsers(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Accept")
	if wantsHTML(r) {
		h.show(w, r, http.StatusOK, view{})
		return
	}
	limit, offset, err := paging(r)
	if err != nil {
		h.fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	users, total, err := h.store.users(r.Context(), limit, offset)
	if err != nil {
		h.unavailable(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, userPage{Limit: limit, Offset: offset, Total: total, Users: users})
}

// addUser takes a user as JSON or as the page's form.
func (h *handler) addUser(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		h.fail(w, r, http.StatusUnsupportedMediaType, "send application/json or a form")
		return
	}
	form := kind != "application/json"
	username, email, err := readUser(r, form)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		h.fail(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("at most %d bytes are taken", maxBody))
		return
	}
	if err == nil {
		err = validUser(username, email)
	}
	if err != nil && form && wantsHTML(r) {
		h.show(w, r, http.StatusBadRequest, view{Problem: err.Error(), Username: username, Email: email})
		return
	}
	if err != nil {
		h.fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	added, err := h.store.add(r.Context(), username, email)
	if err != nil {
		h.unavailable(w, r, err)
		return
	}
	if form && wantsHTML(r) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusCreated, added)
}

func readUser(r *http.Request, form bool) (username, email string, err error) {
	if form {
		err := r.ParseForm()
		return strings.TrimSpace(r.PostForm.Get("username")), strings.TrimSpace(r.PostForm.Get("email")), err
	}
	var body struct{ Username, Email string }
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", "", err
		}
		return "", "", errors.New("the body is not JSON with username and email")
	}
	if decoder.More() {
		return "", "", errors.New("the body is more than one JSON value")
	}
	return strings.TrimSpace(body.Username), strings.TrimSpace(body.Email), nil
}

// validUser holds a user to what the table takes.
func validUser(username, email string) error {
	if n := utf8.RuneCountInString(
		username,
	); n < 1 || n > 50 || !utf8.ValidString(username) ||
		strings.ContainsFunc(username, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("username: 1 to 50 characters are needed")
	}
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || utf8.RuneCountInString(email) > 100 {
		return errors.New("email: an address of at most 100 characters is needed, as in admin@example.com")
	}
	return nil
}

// paging reads limit and offset.
func paging(r *http.Request) (limit, offset int, err error) {
	limit, offset = defaultLimit, 0
	query := r.URL.Query()
	for _, parameter := range []struct {
		name string
		into *int
	}{{"limit", &limit}, {"offset", &offset}} {
		if text := query.Get(parameter.name); text != "" {
			if *parameter.into, err = strconv.Atoi(text); err != nil {
				return 0, 0, fmt.Errorf("%s: a number is needed", parameter.name)
			}
		}
	}
	if limit < 1 || limit > maxLimit {
		return 0, 0, fmt.Errorf("limit: a number from 1 to %d is needed", maxLimit)
	}
	if offset < 0 || offset > 1<<31 {
		return 0, 0, errors.New("offset: a number from 0 on is needed")
	}
	return limit, offset, nil
}

// wantsHTML tells a browser from a program: it names text/html, and before JSON if it names both.
func wantsHTML(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err == nil && kind == "application/json" {
			return false
		}
		if err == nil && kind == "text/html" {
			return true
		}
	}
	return false
}

func (h *handler) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	h.fail(w, r, http.StatusServiceUnavailable, "database: "+reason(err))
}

func (h *handler) fail(w http.ResponseWriter, _ *http.Request, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // fails only where the client is gone
}

// logged writes a line for each request that failed or may have changed something. Those that read and went well are in
// the web server's log, with their client and how long this program took; a second line for each would cost as much as
// a good part of the answer.
func (h *handler) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads && recorder.status < http.StatusBadRequest {
			return
		}
		h.log.Info("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status,
			"milliseconds", milliseconds(time.Since(started)), "client", r.Header.Get("X-Real-IP"))
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is recorded.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
