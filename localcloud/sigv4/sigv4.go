// Package sigv4 verifies requests that are signed with AWS Signature Version 4, in the Authorization header or in the
// query of a presigned URL. It follows
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
//
// It says who signed a request and for which service; what they may do is not its matter. A request is read once, by
// Verify: what is verified are the bytes that Verify was given.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What can be wrong with a request. Services have codes of their own for each.
var (
	// ErrMissing is for a request that is not signed at all.
	ErrMissing = errors.New("the request is not signed")
	// ErrIncomplete is for a signature whose parts are missing or cannot be read.
	ErrIncomplete = errors.New("the signature is incomplete")
	// ErrUnknownKey is for an access key that is not known, or that has another session token.
	ErrUnknownKey = errors.New("the access key or session token is not known")
	// ErrMismatch is for a signature that another secret key, or another request, would have.
	ErrMismatch = errors.New("the signature does not match the request")
	// ErrExpired is for a signature, or a session, that is not valid at this time.
	ErrExpired = errors.New("the request or its session token has expired")
)

// Key is an access key as the cloud that issued it knows it.
type Key struct {
	Secret string
	// SessionToken goes with a temporary key; a lasting one has none.
	SessionToken string
	// Expires is the end of a temporary key; zero is never.
	Expires time.Time
}

// Scope is the credential scope of a signature, with the access key.
type Scope struct {
	AccessKeyID string
	Date        string // YYYYMMDD
	Region      string
	Service     string
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	timestamp = "20060102T150405Z"
	// tolerance is how much a client's clock may differ; AWS allows five minutes.
	tolerance = 5 * time.Minute
	// longest is how long a presigned URL may be valid.
	longest = 7 * 24 * time.Hour
	// unsigned stands for the digest of a body that is not signed.
	unsigned = "UNSIGNED-PAYLOAD"
)

// signature is a request's signature, taken apart.
type signature struct {
	Scope
	headers   []string // names that are signed, in lower case
	value     string
	time      time.Time
	valid     time.Duration // of a presigned URL
	token     string
	presigned bool
}

// ScopeOf is the scope that a request claims; nothing of it is verified. An unsigned request has none.
func ScopeOf(r *http.Request) Scope {
	s, _ := read(r)
	return s.Scope
}

// Verify returns what a request is signed for. find knows the keys. The errors are those of this package. A body that
// is not signed is accepted where unsignedBody says so.
func Verify(
	r *http.Request,
	body []byte,
	now time.Time,
	unsignedBody bool,
	find func(id string) (Key, bool),
) (Scope, error) {
	s, err := read(r)
	if err != nil {
		return s.Scope, err
	}
	key, known := find(s.AccessKeyID)
	if !known || subtle.ConstantTimeCompare([]byte(s.token), []byte(key.SessionToken)) != 1 {
		return s.Scope, ErrUnknownKey
	}
	digest := sha256.Sum256(body)
	payload := hex.EncodeToString(digest[:])
	declared := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case declared == unsigned && unsignedBody && slices.Contains(s.headers, "x-amz-content-sha256"):
		payload = unsigned
	case declared != "" && declared != payload:
		return s.Scope, ErrMismatch
	}
	if !hmac.Equal([]byte(s.value), []byte(s.expected(r, payload, key.Secret))) {
		return s.Scope, ErrMismatch
	}
	// Only who has the secret learns that it is the time that is wrong.
	if !key.Expires.IsZero() && !now.Before(key.Expires) || !s.timely(now) {
		return s.Scope, ErrExpired
	}
	return s.Scope, nil
}

func (s *signature) timely(now time.Time) bool {
	until := tolerance
	if s.presigned {
		until = s.valid
	}
	return now.After(s.time.Add(-tolerance)) && now.Before(s.time.Add(until))
}

func read(r *http.Request) (signature, error) {
	query := r.URL.Query()
	header := r.Header.Get("Authorization")
	switch {
	case header != "" && query.Has("X-Amz-Signature"):
		return signature{}, ErrIncomplete // one of the two would not be looked at
	case header != "":
		return readHeader(r, header)
	case query.Has("X-Amz-Signature"):
		return readQuery(query)
	default:
		return signature{}, ErrMissing
	}
}

func readHeader(r *http.Request, header string) (signature, error) {
	fields, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return signature{}, ErrIncomplete
	}
	parts := map[string]string{}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		parts[name] = value
	}
	return newSignature(parts["Credential"], parts["SignedHeaders"], parts["Signature"],
		r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token"))
}

func readQuery(query url.Values) (signature, error) {
	for name, values := range query {
		if strings.HasPrefix(name, "X-Amz-") && len(values) != 1 {
			return signature{}, ErrIncomplete
		}
	}
	s, err := newSignature(
		query.Get("X-Amz-Credential"),
		query.Get("X-Amz-SignedHeaders"),
		query.Get("X-Amz-Signature"),
		query.Get("X-Amz-Date"),
		query.Get("X-Amz-Security-Token"),
	)
	if err != nil {
		return s, err
	}
	seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
	s.presigned, s.valid = true, time.Duration(seconds)*time.Second
	if err != nil || seconds < 1 || s.valid > longest || query.Get("X-Amz-Algorithm") != algorithm {
		return s, ErrIncomplete
	}
	return s, nil
}

func newSignature(credential, headers, value, date, token string) (signature, error) {
	s := signature{headers: strings.Split(headers, ";"), value: value, token: token}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" {
		return s, ErrIncomplete
	}
	s.Scope = Scope{AccessKeyID: parts[0], Date: parts[1], Region: parts[2], Service: parts[3]}
	var err error
	s.time, err = time.Parse(timestamp, date)
	// Without the host a request could be sent on to another server.
	if err != nil || s.Date != s.time.Format("20060102") || value == "" || !slices.Contains(s.headers, "host") {
		return s, ErrIncomplete
	}
	return s, nil
}

// expected is the signature that the request has if it was made with this secret.
func (s *signature) expected(r *http.Request, payload, secret string) string {
	canonical := sha256.Sum256([]byte(s.canonical(r, payload)))
	scope := strings.Join([]string{s.Date, s.Region, s.Service, "aws4_request"}, "/")
	text := strings.Join([]string{algorithm, s.time.Format(timestamp), scope, hex.EncodeToString(canonical[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.Date, s.Region, s.Service, "aws4_request"} {
		key = sign(key, part)
	}
	return hex.EncodeToString(sign(key, text))
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// canonical is the request in the one form that is signed.
func (s *signature) canonical(r *http.Request, payload string) string {
	var headers strings.Builder
	for _, name := range s.headers {
		headers.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	return strings.Join([]string{
		r.Method,
		// Of all services but S3 the path is encoded once more.
		strings.ReplaceAll(escape(path), "%2F", "/"),
		canonicalQuery(r.URL.Query()),
		headers.String(),
		strings.Join(s.headers, ";"),
		payload,
	}, "\n")
}

// headerValue is a header's value as it is signed. Two of them net/http takes out of the headers.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	var values []string
	for _, value := range r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(value), " "))
	}
	return strings.Join(values, ",")
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		if name == "X-Amz-Signature" {
			continue
		}
		for _, value := range values {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape encodes all but RFC 3986's unreserved characters.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
