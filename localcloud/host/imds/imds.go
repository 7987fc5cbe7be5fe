// Package imds is the instance metadata service, IMDSv2 and, where the instance allows it, v1:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
//
// A Server answers for one instance. A Router listens in a VPC and passes requests on to the servers of the instances
// that they come from. Limits: one network interface for each instance, IPv4 only.
package imds

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metadata is the data of an instance's metadata service.
type Metadata struct {
	InstanceID, ImageID, InstanceType, Region, Zone, AccountID string
	Architecture                                               string // EC2's name: x86_64 or arm64
	LocalIPv4, PublicIPv4, MAC, LocalHostname                  string
	SecurityGroups                                             []string
	UserData                                                   []byte
	KeyName, PublicKey                                         string
	ProfileARN, ProfileID, RoleName                            string
	// Tags are empty unless instance metadata tags are enabled.
	Tags map[string]string
	// TokensRequired refuses requests without an IMDSv2 session token.
	TokensRequired bool
	Disabled       bool
	Launched       time.Time
	// Credentials makes temporary credentials of the role; nil without an instance profile.
	Credentials func(context.Context) (Credentials, error)
}

// Credentials are temporary, as the metadata service gives them out.
type Credentials struct {
	AccessKeyID, SecretAccessKey, Token string
	Expiration                          time.Time
}

// Server is the metadata service of one instance.
type Server struct {
	key [32]byte // signs session tokens

	mu       sync.RWMutex
	metadata Metadata
}

// NewServer makes a server that has nothing to tell yet.
func NewServer() *Server {
	s := &Server{}
	rand.Read(s.key[:])
	return s
}

// Set says what the server answers from now on.
func (s *Server) Set(metadata Metadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata = metadata
}

// ServeHTTP answers a request of the instance.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	m := s.metadata
	s.mu.RUnlock()
	w.Header().Set("Server", "EC2ws")
	switch {
	case m.Disabled:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case r.URL.Path == "/latest/api/token":
		s.serveToken(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case !s.admitted(m, r):
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		s.serveData(w, r, m)
	}
}

// serveToken opens a session. A token is its time of expiry and a signature of that.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.Header.Get("X-Forwarded-For") != "" { // the request came through a proxy
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds"))
	if err != nil || ttl < 1 || ttl > 21600 {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	w.Header().Set("X-aws-ec2-metadata-token-ttl-seconds", strconv.Itoa(ttl))
	fmt.Fprint(w, s.token(time.Now().Add(time.Duration(ttl)*time.Second)))
}

func (s *Server) token(expiry time.Time) string {
	payload := binary.BigEndian.AppendUint64(nil, uint64(expiry.Unix()))
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(payload)
	return base64.URLEncoding.EncodeToString(mac.Sum(payload))
}

func (s *Server) admitted(m Metadata, r *http.Request) bool {
	token := r.Header.Get("X-aws-ec2-metadata-token")
	if token == "" {
		return !m.TokensRequired
	}
	payload, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(payload) < 8 {
		return false
	}
	expiry := time.Unix(int64(binary.BigEndian.Uint64(payload)), 0)
	return time.Now().Before(expiry) && hmac.Equal([]byte(token), []byte(s.token(expiry)))
}

func (s *Server) serveData(w http.ResponseWriter, r *http.Request, m Metadata) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // latest, or a date
	path = strings.TrimSuffix(path, "/")
	role, ok := strings.CutPrefix(path, "meta-data/iam/security-credentials/")
	if ok && m.Credentials != nil && role == m.RoleName {
		serveCredentials(w, r, m)
		return
	}
	if path == "user-data" && len(m.UserData) > 0 {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(m.UserData)
		return
	}
	tree := valueTree(m)
	if path == "meta-data/public-keys" && m.PublicKey != "" { // a listing like no other
		fmt.Fprint(w, "0="+m.KeyName)
		return
	}
	if value, ok := tree[path]; ok {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, value)
		return
	}
	if names := listing(tree, path); len(names) > 0 {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, strings.Join(names, "\n"))
		return
	}
	http.NotFound(w, r)
}

func serveCredentials(w http.ResponseWriter, r *http.Request, m Metadata) {
	credentials, err := m.Credentials(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code":            "Success",
		"Type":            "AWS-HMAC",
		"LastUpdated":     time.Now().UTC().Format(time.RFC3339),
		"AccessKeyId":     credentials.AccessKeyID,
		"SecretAccessKey": credentials.SecretAccessKey,
		"Token":           credentials.Token,
		"Expiration":      credentials.Expiration.UTC().Format(time.RFC3339),
	})
}

// valueTree returns all plain values by path.
func valueTree(m Metadata) map[string]string {
	tree := map[string]string{
		"meta-data/ami-id":                                            m.ImageID,
		"meta-data/ami-launch-index":                                  "0",
		"meta-data/instance-id":                                       m.InstanceID,
		"meta-data/instance-type":                                     m.InstanceType,
		"meta-data/instance-life-cycle":                               "on-demand",
		"meta-data/local-ipv4":                                        m.LocalIPv4,
		"meta-data/local-hostname":                                    m.LocalHostname,
		"meta-data/hostname":                                          m.LocalHostname,
		"meta-data/mac":                                               m.MAC,
		"meta-data/security-groups":                                   strings.Join(m.SecurityGroups, "\n"),
		"meta-data/placement/region":                                  m.Region,
		"meta-data/placement/availability-zone":                       m.Zone,
		"meta-data/services/domain":                                   "amazonaws.com",
		"meta-data/services/partition":                                "aws",
		"meta-data/network/interfaces/macs/" + m.MAC + "/local-ipv4s": m.LocalIPv4,
		"meta-data/network/interfaces/macs/" + m.MAC + "/mac":         m.MAC,
	}
	if m.PublicIPv4 != "" {
		tree["meta-data/public-ipv4"] = m.PublicIPv4
		tree["meta-data/network/interfaces/macs/"+m.MAC+"/public-ipv4s"] = m.PublicIPv4
	}
	if m.PublicKey != "" {
		tree["meta-data/public-keys/0/openssh-key"] = m.PublicKey
	}
	if m.ProfileARN != "" {
		info, _ := json.Marshal(map[string]string{
			"Code":               "Success",
			"LastUpdated":        m.Launched.UTC().Format(time.RFC3339),
			"InstanceProfileArn": m.ProfileARN,
			"InstanceProfileId":  m.ProfileID,
		})
		tree["meta-data/iam/info"] = string(info)
	}
	if m.RoleName != "" && m.Credentials != nil {
		tree["meta-data/iam/security-credentials/"+m.RoleName] = "" // made when they are asked for
	}
	for key, value := range m.Tags {
		tree["meta-data/tags/instance/"+key] = value
	}
	document, _ := json.MarshalIndent(map[string]any{
		"accountId":        m.AccountID,
		"architecture":     m.Architecture,
		"availabilityZone": m.Zone,
		"imageId":          m.ImageID,
		"instanceId":       m.InstanceID,
		"instanceType":     m.InstanceType,
		"pendingTime":      m.Launched.UTC().Format(time.RFC3339),
		"privateIp":        m.LocalIPv4,
		"region":           m.Region,
		"version":          "2017-09-30",
	}, "", "  ")
	tree["dynamic/instance-identity/document"] = string(document)
	return tree
}

// listing returns the names below a path; a directory's ends with a slash.
func listing(tree map[string]string, path string) []string {
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	var names []string
	for full := range tree {
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		name, _, directory := strings.Cut(rest, "/")
		if directory {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
