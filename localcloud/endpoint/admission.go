package endpoint

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
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
	"servicequotas":        regexp.MustCompile(`^/$`),
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
		return unread, awsquery.Faultf(apierror.InvalidRequest,
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
		return unread, awsquery.Faultf(apierror.InvalidRegion,
			"the local cloud has the region %s only; the call is for %s", awsquery.Region, scope.Region)
	}
	path, ok := paths[service]
	if !ok {
		return unread, awsquery.Faultf(apierror.UnsupportedOperation, "the local cloud has no service %q", service)
	}
	if !path.MatchString(r.URL.Path) {
		return unread, awsquery.Faultf(apierror.UnknownOperation, "there is nothing at this path")
	}
	c, err := awsquery.ReadCall(r, service, body)
	c.Caller = who
	c.Caller.Source = s.callerAddress(r)
	return c, err
}

// signatureFault has the errors for one fault of a signature: EC2's, that of the other services of the query protocol,
// and that of those that speak JSON.
type signatureFault struct {
	is               error
	ec2, query, json *apierror.Row
	// adding is the local cloud's own explanation.
	adding string
}

var signatureFaults = []signatureFault{
	{
		is:    sigv4.ErrMissing,
		ec2:   apierror.MissingAuthenticationToken,
		query: apierror.MissingAuthenticationToken,
		json:  apierror.MissingAuthenticationJSON,
	},
	{
		is:    sigv4.ErrIncomplete,
		ec2:   apierror.IncompleteSignature,
		query: apierror.IncompleteSignature,
		json:  apierror.IncompleteSignatureJSON,
	},
	{
		is:     sigv4.ErrUnknownKey,
		ec2:    apierror.AuthFailure,
		query:  apierror.InvalidClientTokenID,
		json:   apierror.UnrecognizedClient,
		adding: "It is no key of this local cloud.",
	},
	{
		is:     sigv4.ErrMismatch,
		ec2:    apierror.AuthFailure,
		query:  apierror.SignatureDoesNotMatch,
		json:   apierror.InvalidSignatureException,
		adding: "The secret key is not that of this access key, or the request was changed.",
	},
	{
		is:    sigv4.ErrExpired,
		ec2:   apierror.RequestExpired,
		query: apierror.ExpiredToken,
		json:  apierror.ExpiredTokenException,
	},
}

// unsigned is the answer to a request that nobody signed who is known.
func unsigned(service string, err error) error {
	for _, known := range signatureFaults {
		if !errors.Is(err, known.is) {
			continue
		}
		row := known.query
		switch {
		case service == "ec2" || service == "":
			row = known.ec2
		case awsquery.JSONServices[service]:
			row = known.json
		}
		return awsquery.Fault(row).Adding("%s", known.adding)
	}
	return err
}
