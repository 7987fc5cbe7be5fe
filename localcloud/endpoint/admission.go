package endpoint

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/sigv4"
)

// Who gets in. The endpoint is on loopback, where every program of this computer and every page in a browser on it can
// send requests: so a request is refused that a browser could have sent for a page, that names another host, that is
// not signed with a key of this cloud, or that is for nothing that the cloud has.

// Side is from where a listener's requests come.
type Side int

const (
	// Operators are on the host.
	Operators Side = iota
	// Machines are instances; their keys come from a metadata service.
	Machines
)

// bodyLimit is more than any call of the services that are known here needs.
const bodyLimit = 8 << 20

// Handler serves a listener at this address.
func (s *Server) Handler(from Side, address netip.AddrPort) http.Handler {
	hosts := map[string]bool{address.String(): true}
	if address.Port() == 80 {
		hosts[address.Addr().String()] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reason := foreign(r, hosts); reason != "" {
			s.config.Log.Warn("refused", "from", r.RemoteAddr, "reason", reason)
			http.Error(w, "forbidden: "+reason, http.StatusForbidden)
			return
		}
		s.serve(w, r, from)
	})
}

// foreign tells why a request cannot come from a client of this API, or is empty. A browser says in these headers that
// a page sent it, and which host that page believes to talk to.
func foreign(r *http.Request, hosts map[string]bool) string {
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case !hosts[r.Host]:
		return "the Host header names another server"
	case r.Method == http.MethodOptions:
		return "no other origin may send requests"
	case len(r.Header.Values("Origin")) > 0:
		return "the request comes from a web page"
	case site != "" && site != "none":
		return "the request comes from a web page"
	}
	return ""
}

// paths are the services of the cloud, and where each has its API. Nothing else reaches moto, which has
// services and controls of its own.
var paths = map[string]*regexp.Regexp{
	"ec2":                  regexp.MustCompile(`^/$`),
	"autoscaling":          regexp.MustCompile(`^/$`),
	"elasticloadbalancing": regexp.MustCompile(`^/$`),
	"iam":                  regexp.MustCompile(`^/$`),
	"sts":                  regexp.MustCompile(`^/$`),
	"ssm":                  regexp.MustCompile(`^/$`),
	"ebs": regexp.MustCompile(
		`^/snapshots(/completion)?(/snap-[0-9a-f]{8,17}(/blocks(/\d+)?|/changedblocks)?)?$`),
	awsquery.CheckIPService: regexp.MustCompile(`^/latest/checkip$`),
}

// admit reads a request and finds out who sent it.
func (s *Server) admit(r *http.Request, from Side) (*awsquery.Call, error) {
	service := sigv4.ScopeOf(r).Service
	unread := &awsquery.Call{
		Service: service,
		Method:  r.Method,
		Path:    r.URL.Path,
		Header:  http.Header{},
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	if err != nil || len(body) > bodyLimit {
		return unread, awsquery.Fault("MalformedRequest",
			"the request cannot be read, or is larger than %d bytes", bodyLimit)
	}
	if strings.HasPrefix(sigv4.ScopeOf(r).AccessKeyID, "ASIAEXPIRED") {
		return unread, unsigned(service, sigv4.ErrExpired)
	}
	var who awsquery.Caller
	scope, err := sigv4.Verify(r, body, time.Now(), service == "ebs", func(id string) (sigv4.Key, bool) {
		key, found, ok := s.keys.Find(id)
		if !ok || from == Machines && !found.Machine {
			return sigv4.Key{}, false
		}
		who = found
		return key, true
	})
	if err != nil {
		return unread, unsigned(service, err)
	}
	if scope.Region != awsquery.Region {
		return unread, awsquery.Fault("InvalidRegion",
			"the local cloud has the region %s only; the call is for %s", awsquery.Region, scope.Region)
	}
	path, ok := paths[service]
	if !ok {
		return unread, &awsquery.Error{
			Code:    "UnsupportedOperation",
			Message: "the local cloud has no service " + strconv.Quote(service),
		}
	}
	if !path.MatchString(r.URL.Path) {
		return unread, &awsquery.Error{
			Code:    "UnknownOperationException",
			Message: "there is nothing at this path",
			Status:  http.StatusNotFound,
		}
	}
	c, err := awsquery.ReadCall(r, service, body)
	c.Caller = who
	c.Caller.Source = s.callerAddress(r)
	return c, err
}

// signatureFault has the codes for one fault of a signature: EC2's, that of the other services of the query protocol,
// and that of those that speak JSON.
type signatureFault struct {
	is               error
	ec2, query, json string
	status           int
	message          string
}

var signatureFaults = []signatureFault{
	{sigv4.ErrMissing, "MissingAuthenticationToken", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", http.StatusForbidden,
		"Missing Authentication Token"},
	{sigv4.ErrIncomplete, "IncompleteSignature", "IncompleteSignature", "IncompleteSignatureException",
		http.StatusBadRequest,
		"The request signature does not conform to AWS standards"},
	{sigv4.ErrUnknownKey, "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", http.StatusForbidden,
		"The security token included in the request is invalid: it is no key of this local cloud"},
	{sigv4.ErrMismatch, "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException", http.StatusForbidden,
		"The request signature we calculated does not match the signature you provided"},
	{sigv4.ErrExpired, "RequestExpired", "ExpiredToken", "ExpiredTokenException", http.StatusBadRequest,
		"The security token included in the request, or its signature, is expired"},
}

// unsigned is the answer to a request that nobody signed who is known.
func unsigned(service string, err error) error {
	for _, known := range signatureFaults {
		if !errors.Is(err, known.is) {
			continue
		}
		code := known.query
		switch {
		case service == "ec2" || service == "":
			code = known.ec2
		case awsquery.JSONServices[service]:
			code = known.json
		}
		return &awsquery.Error{Code: code, Message: known.message, Status: known.status}
	}
	return err
}
